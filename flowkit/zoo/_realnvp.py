"""Real NVP for images: Density Estimation using Real NVP (Dinh, Sohl-Dickstein & Bengio, 2017)."""

from typing import Annotated

from flowkit.bijectors import BatchNorm, Chain, Coupling, MultiScale, Squeeze, Unconstrain
from flowkit.conditioners import ResidualConvNet
from flowkit.contract.arguments import Blocks, Count, checked, whole
from flowkit.data import Dequantize
from flowkit.flow.flow import Flow
from flowkit.transforms import Affine
from flowkit.zoo._images import EDGE, ImageShape, built


@checked
def realnvp_images(
    *,
    input_shape: ImageShape,
    levels: Annotated[int, whole(1, 16)] = 2,
    width: Count = 64,
    blocks: Blocks = 8,
    n_bits: Annotated[int, whole(1, 8)] = 8,
    data_levels: int | None = None,
) -> Flow:
    """Real NVP for images: a logit, then `levels` of couplings by checkerboards and by channels.

    A level has three couplings by checkerboards, a squeeze, three couplings of halves of the channels, and half of the
    channels leaves; the last one has four couplings by checkerboards. Couplings alternate what they keep, scale by
    exp(s) with s from a tanh, and a batch normalisation follows each. As published, but that networks are normalised
    once, by the first batch, have the same width after each squeeze, where the published code doubles it, and have no
    1x1 connections from each block to the last layer: 5,998,508 weights for CIFAR-10 with the defaults, which are the
    paper's. `realnvp` is the same for vectors.

    - `input_shape`: (height, width, channels).
    - `width`, `blocks`: hidden channels and residual blocks of the networks.
    - `n_bits`, `data_levels`: as in `glow`.

    Raises ValueError for a number out of range, ContractError for images that cannot be halved `levels` - 1 times.

    >>> import numpy as np
    >>> flow = realnvp_images(input_shape=(4, 4, 1), width=4, blocks=1)
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), dtype="uint8")
    >>> flow.adapt(images).log_prob(images).shape
    (16,)
    """

    def couplings(count, split):
        parts = []
        for number in range(count):
            network = ResidualConvNet(width, blocks=blocks)
            parts += [Coupling(network, Affine("tanh"), split=split, swap=bool(number % 2)), BatchNorm()]
        return parts

    def level():
        return Chain([*couplings(3, "checkerboard"), Squeeze(), *couplings(3, "channels")])

    scales = [*(level() for _ in range(levels - 1)), Chain(couplings(4, "checkerboard"))]
    edges = Unconstrain([(-EDGE, EDGE)] * input_shape[-1])
    flow = Flow(
        Chain([edges, MultiScale(scales)]),
        dequantize=Dequantize(n_bits, levels=data_levels),
        name="realnvp_images",
    )
    return built(flow, input_shape, None)
