"""Jet: A Modern Transformer-Based Normalizing Flow (Kolesnikov, Pinto & Tschannen, 2024)."""

from flowkit.bijectors import Chain, Inverse, PatchCoupling, Repeat, Squeeze
from flowkit.bijectors.patch_coupling import JET
from flowkit.bijectors.replay import Backprop
from flowkit.conditioners import ViT
from flowkit.contract.arguments import Blocks, Count, checked
from flowkit.flow.flow import Flow
from flowkit.zoo._images import ImageShape, built, dequantizer, entrance


@checked
def jet(
    *,
    depth: Blocks = 32,
    block_depth: Blocks = 2,
    width: Count = 512,
    heads: Count | None = None,
    patch: Count = 4,
    spatial: bool = True,
    equalize: bool = False,
    num_classes: Count | None = None,
    n_bits: int | None = 8,
    data_levels: int | None = None,
    backprop: Backprop = "stored",
    input_shape: ImageShape | None = None,
) -> Flow:
    """Jet: patches, then `depth` couplings by vision transformers, z_b = (x_b + b(x_a)) 2 sigmoid(s(x_a)).

    Pixels are scaled to [-1, 1]. There are neither levels nor learned maps between couplings: `depth` couplings divide
    the patches in turn, four times by channels, drawn at random for each, and once by places. Made as published; one
    pass of the networks in both directions.

    - `block_depth`, `width`, `heads` (None: `width` / 64): of the transformer of a coupling.
    - `patch`: the side of a square patch.
    - `spatial=False`: all couplings divide channels, as images with an odd number of patches in a row need.
    - `equalize`: pixels enter by their histogram (`flowkit.bijectors.Equalize`), not scaled: for images with few
      colours.
    - `num_classes`: densities given a class, and the context is integer labels (batch,).
    - `n_bits`, `data_levels`, `input_shape`: as in `glow`.
    - `backprop`: what is kept for the backward pass, as in `Chain`; published with "recompute".

    Raises ValueError for a number out of range and a width that is no multiple of the heads, ContractError for images
    that are not divided into patches, or patches that are not divided into halves.

    >>> import numpy as np
    >>> flow = jet(depth=5, block_depth=1, width=8, patch=2, input_shape=(8, 8, 1))
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype="uint8")
    >>> flow.log_prob(images).shape
    (16,)
    """
    context = "none" if num_classes is None else "required"
    network = ViT(width, depth=block_depth, heads=heads, context=context, num_classes=num_classes)
    coupling = PatchCoupling(network, splits=JET if spatial else ["channels"])
    dequantize = dequantizer(n_bits, data_levels)
    layers = [
        entrance(dequantize, equalize),
        Squeeze(patch),
        Repeat(coupling, depth, backprop=backprop),
        Inverse(Squeeze(patch)),
    ]
    flow = Flow(Chain(layers), dequantize=dequantize, name="jet")
    return built(flow, input_shape, num_classes)
