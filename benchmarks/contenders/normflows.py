"""normflows on torch: its Glow, and its affine couplings on vectors.

Its Glow differs from flowkit's: no actnorm inside the networks (biases instead) and no edge bias, Gaussian priors with
a mean and a deviation for each entry instead of convolutions, channels first, and `sample` gives log-densities too.
"""

import normflows as nf
import torch
from contenders.on_torch import DEVICE, OnTorch

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
    return OnTorch(
        model,
        lambda: model.forward_kld(x),
        lambda: model.log_prob(x, None),
        lambda: model.sample(len(x)),
        precision=work["precision"],
    )


def vectors(work, x):
    x = torch.as_tensor(x, device=DEVICE)
    features, width, flows = work["features"], work["width"], []
    for _ in range(work["layers"]):
        net = nf.nets.MLP([features // 2, width, width, features], init_zeros=True)
        flows += [
            nf.flows.AffineCouplingBlock(net, scale_map="sigmoid"),
            nf.flows.Permute(features, mode="swap"),
        ]
    base = nf.distributions.DiagGaussian(features, trainable=False)
    model = nf.NormalizingFlow(base, flows).to(DEVICE)
    return OnTorch(
        model,
        lambda: model.forward_kld(x),
        lambda: model.log_prob(x),
        lambda: model.sample(len(x)),
    )
