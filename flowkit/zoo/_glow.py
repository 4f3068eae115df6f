"""Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma & Dhariwal, 2018)."""

from typing import Annotated

from flowkit.bijectors import (
    ActNorm,
    Chain,
    Conv1x1,
    Coupling,
    EmergingConv,
    MultiScale,
    PeriodicConv,
    Permute,
    Repeat,
    Squeeze,
)
from flowkit.conditioners import ConvNet, ScaledConv, TopPrior
from flowkit.contract.arguments import Count, checked, real, whole, words
from flowkit.flow.flow import Flow
from flowkit.flow.labelled import LabelledFlow
from flowkit.transforms import Additive, Affine
from flowkit.zoo._images import ImageShape, built, dequantizer


@checked
def glow(
    *,
    levels: Annotated[int, whole(1, 16)] = 3,
    steps: Annotated[int, whole(1, 1024)] = 32,
    width: Annotated[int, whole(1, 2**14)] = 512,
    coupling: Annotated[str, words("affine", "additive")] = "affine",
    min_scale: Annotated[float, real(0, 0.999, "a number from 0 to 0.999")] = 0.0,
    permutation: Annotated[str, words("conv1x1", "emerging", "periodic", "shuffle", "reverse")] = "conv1x1",
    n_bits: int | None = 8,
    data_levels: int | None = None,
    learn_top: bool = True,
    num_classes: Count | None = None,
    classifier_weight: Annotated[float, real(0, 1e6, "a number from 0 to 1e+06")] = 0.0,
    lu: bool = True,
    backprop: str = "stored",
    input_shape: ImageShape | None = None,
) -> Flow:
    """Glow: `levels` x (squeeze, `steps` x (actnorm, 1x1 convolution, coupling), split).

    Made as published, except that the 1x1 convolutions are PLU, which cannot become singular.

    - `width`: hidden channels of the coupling networks.
    - `coupling`: "affine" or "additive".
    - `min_scale` > 0 bounds what the published model leaves unbounded on the way back, the scales of affine
      couplings and of the priors, so that samples stay finite (see `flowkit.transforms.Affine`, `MultiScale`).
    - `permutation`: "conv1x1", "shuffle" or "reverse"; or, in place of the 1x1 convolution, "emerging", which adds an
      `EmergingConv` to it, or "periodic", a `PeriodicConv` (Hoogeboom, van den Berg & Welling, 2019).
    - `n_bits`: of the images' 8 how many are modelled; None takes continuous inputs as they are.
      `data_levels`: the number of values of images that do not have 256 (17 for digits).
    - `learn_top`: the prior of the last latents is learned. `num_classes`: it depends on a class, and
      the context is integer labels (batch,).
    - `classifier_weight`: above 0, the last latents are also trained to tell the class, and the bits that
      this takes count so much beside the bits per dimension: a `flowkit.LabelledFlow`.
    - `backprop`: what is kept for the backward pass, as in `Chain`.
    - `lu=False`: the plain matrix of the published code.
    - `input_shape`: (height, width, channels) makes the weights now, otherwise the first data do.

    Raises ValueError for an unknown word, a number out of range and a classifier without classes, ContractError for
    images that cannot be halved `levels` times.

    >>> import numpy as np
    >>> flow = glow(levels=2, steps=1, width=8)
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype="uint8")
    >>> flow.adapt(images).log_prob(images).shape
    (16,)
    """
    transform = Affine(min_scale=min_scale) if coupling == "affine" else Additive()

    def mix():
        if permutation == "periodic":
            return [PeriodicConv()]
        if permutation in ("shuffle", "reverse"):
            return [Permute(permutation)]
        return [Conv1x1(lu=lu), *([EmergingConv()] if permutation == "emerging" else [])]

    def step():
        return Chain([ActNorm(), *mix(), Coupling(ConvNet(width), transform, layout="interleaved")])

    def scale():
        return Chain([Squeeze(), Repeat(step(), steps)], backprop=backprop)

    bijector = MultiScale(
        [scale() for _ in range(levels)],
        priors=[ScaledConv(zeros=True) for _ in range(levels - 1)],
        top_prior=TopPrior(learn=learn_top, num_classes=num_classes) if learn_top or num_classes else None,
        min_scale=min_scale,
    )
    dequantize = dequantizer(n_bits, data_levels)
    if classifier_weight:
        if num_classes is None:
            raise ValueError("glow's classifier_weight expects num_classes=, received none.")
        flow = LabelledFlow(bijector, label_weight=classifier_weight, dequantize=dequantize, name="glow")
    else:
        flow = Flow(bijector, dequantize=dequantize, name="glow")
    return built(flow, input_shape, num_classes)
