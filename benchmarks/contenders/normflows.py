"""normflows on torch: its Glow, and its affine couplings on vectors.

Its Glow differs from flowkit's: no actnorm inside the networks (biases instead) and no edge bias, Gaussian priors with
a mean and a deviation for each entry instead of convolutions, channels first, and `sample` gives log-densities too.
"""

import normflows as nf
import torch
from contenders.on_torch import DEVICE, OnTorch

PACKAGE = "normflows"


def images(work, x):
    x = torch.as_tensor(x, device=DEVICE).permute(0, 3, 1, 2).contiguous()
    levels, bases, flows = work["levels"], [], []
    for level in range(levels, 0, -1):  # from the last latents to the image
        channels, size = 3 * 2 ** (level + 1), work["size"] // 2**level
        blocks = [nf.flows.GlowBlock(channels, work["width"]) for _ in range(work["steps"])]
        flows.append([*blocks, nf.flows.Squeeze()])
        bases.append(
            nf.distributions.DiagGaussian((channels if level == levels else channels // 2, size, size))
        )
    merges = [nf.flows.Merge() for _ in range(levels - 1)]
    model = nf.MultiscaleFlow(bases, flows, merges, class_cond=False).to(DEVICE)
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
