"""nflows on torch: couplings, affine or with splines, with halves by alternating masks; its masked autoregressive flow.

Of a spline's parameters it divides by the root of the width of a network that says it: ours does not.
"""

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
    return couplings(work, x, transforms.AffineCouplingTransform)


def splines(work, x):
    options = {"num_bins": work["bins"], "tails": "linear", "tail_bound": 5.0}
    return couplings(work, x, transforms.PiecewiseRationalQuadraticCouplingTransform, **options)


def couplings(work, x, coupling, **options):
    features, hidden = work["features"], [work["width"]] * 2

    def layer(swap):
        mask = [int((i < features // 2) == swap) for i in range(features)]
        return coupling(mask, lambda i, o: Net((i,), (o,), hidden), **options)

    chain = transforms.CompositeTransform([layer(bool(i % 2)) for i in range(work["layers"])])
    return on_torch(work, x, flows.Flow(chain, distributions.StandardNormal([features])))


def maf(work, x):
    # The layer before its blocks is a hidden one too.
    sizes = {"hidden_features": work["width"], "num_layers": work["layers"], "num_blocks_per_layer": 1}
    return on_torch(
        work, x, flows.MaskedAutoregressiveFlow(work["features"], **sizes, use_residual_blocks=False)
    )


def on_torch(work, x, model):
    model = model.to(DEVICE)
    x = torch.as_tensor(x, device=DEVICE)
    return OnTorch(work, model, x, lambda x: -model.log_prob(x).mean(), model.log_prob, model.sample)
