"""nflows on torch: affine couplings on vectors; halves by alternating masks."""

import torch
from contenders.on_torch import DEVICE, OnTorch
from nflows import distributions, flows, transforms
from nflows.nn.nets import MLP

PACKAGE = "nflows"


class Net(MLP):
    """Its couplings hand on a context, its MLP takes none."""

    def forward(self, inputs, context=None):
        return super().forward(inputs)


def vectors(work, x):
    x = torch.as_tensor(x, device=DEVICE)
    features, hidden = work["features"], [work["width"]] * 2

    def coupling(swap):
        mask = [int((i < features // 2) == swap) for i in range(features)]
        return transforms.AffineCouplingTransform(mask, lambda i, o: Net((i,), (o,), hidden))

    chain = transforms.CompositeTransform([coupling(bool(i % 2)) for i in range(work["layers"])])
    model = flows.Flow(chain, distributions.StandardNormal([features])).to(DEVICE)
    return OnTorch(
        model,
        lambda: -model.log_prob(x).mean(),
        lambda: model.log_prob(x),
        lambda: model.sample(len(x)),
    )
