"""normflows on torch: its Glow; on vectors its couplings, affine or with splines, and its autoregressive layers.

Its Glow differs from flowkit's: no actnorm inside the networks (biases instead) and no edge bias, Gaussian priors
with a mean and a deviation for each entry instead of convolutions, channels first, and `sample` gives log-densities
too. Its spline layer brings residual networks: here is the coupling inside it, around a perceptron. Its
autoregressive layer is quick in the direction that samples, so it is turned around; it has one ReLU fewer, and halves
change places between layers.
"""

import normflows as nf
import torch
from contenders.on_torch import DEVICE, OnTorch
from measuring.work import perceptron
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

PACKAGE = "normflows"


def glow(shape, *, levels, steps, width):
    """normflows' Glow for images of `shape` (height, width, channels), its choices its own but for the size."""
    height, columns, channels = shape
    bases, flows = [], []
    for level in range(levels, 0, -1):  # from the last latents to the image
        deep = channels * 2 ** (level + 1)
        blocks = [nf.flows.GlowBlock(deep, width) for _ in range(steps)]
        flows.append([*blocks, nf.flows.Squeeze()])
        latents = deep if level == levels else deep // 2
        bases.append(nf.distributions.DiagGaussian((latents, height // 2**level, columns // 2**level)))
    merges = [nf.flows.Merge() for _ in range(levels - 1)]
    return nf.MultiscaleFlow(bases, flows, merges, class_cond=False).to(DEVICE)


def images(work, x):
    model = glow(x.shape[1:], **{key: work[key] for key in ("levels", "steps", "width")})
    x = torch.as_tensor(x, device=DEVICE).permute(0, 3, 1, 2).contiguous()
    return OnTorch(work, model, x, model.forward_kld, lambda x: model.log_prob(x, None), model.sample)


def vectors(work, x):
    def layer(sizes, swap):
        return [
            nf.flows.AffineCouplingBlock(nf.nets.MLP(sizes, init_zeros=True), scale_map="sigmoid"),
            nf.flows.Permute(work["features"], mode="swap"),
        ]

    return of(work, x, layer)


def splines(work, x):
    features = work["features"]

    def layer(sizes, swap):
        mask = torch.tensor([int((i < features // 2) == swap) for i in range(features)])
        options = {"num_bins": work["bins"], "tails": "linear", "tail_bound": 5.0}
        return [Spline(PiecewiseRationalQuadraticCoupling(mask, lambda i, o: Net(sizes), **options))]

    return of(work, x, layer)


def maf(work, x):
    features, width = work["features"], work["width"]

    def layer(sizes, swap):
        # The layer before its blocks is a hidden one too.
        options = {"num_blocks": 1, "use_residual_blocks": False}
        return [
            nf.flows.Reverse(nf.flows.MaskedAffineAutoregressive(features, width, **options)),
            nf.flows.Permute(features, mode="swap"),
        ]

    return of(work, x, layer)


class Net(nf.nets.MLP):
    """Its spline couplings hand on a context, its MLP takes none."""

    def __init__(self, sizes):
        super().__init__(sizes, init_zeros=True)

    def forward(self, x, context=None):
        return super().forward(x)


class Spline(nf.flows.Flow):
    """As its own wrapper does: to samples is the inverse."""

    def __init__(self, coupling):
        super().__init__()
        self.coupling = coupling

    def forward(self, z):
        x, log_det = self.coupling.inverse(z)
        return x, log_det.view(-1)

    def inverse(self, x):
        z, log_det = self.coupling(x)
        return z, log_det.view(-1)


def of(work, x, layer):
    """`layer(sizes, swap)`: the parts of one layer, whose network has these sizes."""
    parts = [part for i in range(work["layers"]) for part in layer(perceptron(work), bool(i % 2))]
    base = nf.distributions.DiagGaussian(work["features"], trainable=False)
    model = nf.NormalizingFlow(base, parts).to(DEVICE)
    x = torch.as_tensor(x, device=DEVICE)
    return OnTorch(work, model, x, model.forward_kld, model.log_prob, model.sample)
