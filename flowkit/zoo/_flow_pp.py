"""Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design (2019)."""

from typing import Annotated, Any

from flowkit.bijectors import (
    ActNorm,
    Chain,
    Conv1x1,
    Coupling,
    Flatten,
    OnColumns,
    Permute,
    Repeat,
    Reshape,
    Squeeze,
    Unconstrain,
)
from flowkit.bijectors.replay import Backprop
from flowkit.conditioners import GatedAttention, GatedConvNet
from flowkit.conditioners.gated import Heads
from flowkit.contract.arguments import Blocks, Count, Fraction, Wholes, checked, whole, words
from flowkit.contract.flow_layer import FlowLayer
from flowkit.data import Dequantize, VariationalDequantize
from flowkit.flow.flow import Flow
from flowkit.transforms import MixtureOfLogistics
from flowkit.zoo._images import EDGE, ImageShape, built

IMAGE = 32  # the width of the network of the image


@checked
def flow_pp(
    *,
    input_shape: ImageShape,
    width: Count = 96,
    mixtures: Count = 32,
    blocks: Blocks = 10,
    heads: Count = 4,
    couplings: Wholes = (4, 2, 3),
    dropout: Fraction = 0.2,
    dequantize: Annotated[str, words("variational", "uniform")] = "variational",
    dequantizer_width: Count | None = None,
    dequantizer_blocks: Blocks = 2,
    dequantizer_couplings: Count = 4,
    dequantizer_heads: Heads | None = None,
    variant: Annotated[str, words("cifar10", "imagenet")] = "cifar10",
    n_bits: Annotated[int, whole(1, 8)] = 8,
    data_levels: int | None = None,
    lu: bool = True,
    backprop: Backprop = "stored",
) -> Flow:
    """Flow++: a logit, `couplings` (4 of columns, squeeze, 2 of channels, 3 of columns), variational dequantisation.

    A step normalises each entry, multiplies each half by a matrix, and moves one half by the distribution function of
    a mixture of logistics and a scale and shift, as a network with self-attention reads off the other half; then the
    halves change places. Halves are every other column, or half of the channels.

    - `input_shape`: (height, width, channels); the height is a multiple of 2, the width one of 4; twice that for each
      further squeeze.
    - `width`, `blocks`, `heads`, `dropout`: of `GatedAttention`. `mixtures`: the components of a mixture.
    - `couplings`: how many steps of columns, then for each squeeze how many of channels and of columns.
    - `dequantize`: "variational", or "uniform" for `Dequantize`. It has `dequantizer_couplings` steps, whose networks
      have `dequantizer_width` (None: `width`), `dequantizer_blocks` and `dequantizer_heads` (None: `heads`; 0: no
      attention).
    - `variant`: which of the published designs. In that for ImageNet steps have no matrices, networks have the
      nonlinearity before their last convolution too, and the network that reads the image for the dequantiser has
      `dequantizer_blocks` as well, with layer norms and `dequantizer_heads`, in place of 3 convolutions.
    - `n_bits`, `data_levels`: as in `glow`.
    - `lu=False`: plain matrices, with which the numbers of trainable parameters are the published ones.
    - `backprop`: "stored" or "recompute", as in `Chain`; the latter goes with `dropout=0` alone.

    As published, but for the logarithms of the mixtures' scales, which are bounded, for means that begin evenly spread,
    and for matrices that begin at the identity without noise. log_prob is a bound (`flow.exact`); `samples=k` gives the
    importance-weighted one.

    Raises ValueError for a number out of range, an unknown word, or an image that cannot be halved so; ContractError
    for a dropout with backprop="recompute".
    Ho, Chen, Srinivas, Duan & Abbeel (2019).

    >>> import numpy as np
    >>> flow = flow_pp(input_shape=(4, 4, 1), width=4, mixtures=2, blocks=1, couplings=(1, 1, 1), heads=2)
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), dtype="uint8")
    >>> flow.adapt(images).log_prob(images, samples=2).shape
    (16,)
    """
    if len(couplings) % 2 == 0:
        raise ValueError(
            f"flow_pp's couplings: expected three numbers, such as (4, 2, 3), or two more for each further squeeze, "
            f"received {couplings}."
        )
    height, columns, channels = input_shape
    places = 2 ** (len(couplings) // 2)
    if height % places or columns % (2 * places):
        raise ValueError(
            f"flow_pp's input_shape: expected a height that is a multiple of {places} and a width that is a multiple "
            f"of {2 * places}, received {tuple(input_shape)}. Resize or pad the images."
        )
    for_imagenet = variant == "imagenet"
    of_noise = {
        "width": dequantizer_width or width,
        "blocks": dequantizer_blocks,
        "heads": heads if dequantizer_heads is None else dequantizer_heads,
    }

    def steps(shape, n, *, context="none", **sizes):
        """Return a list of `n` steps on events of `shape`, of which the first half of the channels is kept first."""
        if n == 0:
            return []
        half = shape[-1] // 2
        marks = [] if for_imagenet else [[True] * half + [False] * half, [False] * half + [True] * half]
        network = GatedAttention(**sizes, dropout=dropout, activated=for_imagenet, context=context)
        step = [
            *(Flatten(), ActNorm(1.0), Reshape(shape)),
            *(OnColumns(Conv1x1(lu=lu, init="identity"), marked) for marked in marks),
            *(Coupling(network, MixtureOfLogistics(mixtures)), Permute("reverse")),
        ]
        return [Repeat(Chain(step), n, backprop=backprop)]

    def of_columns(shape, n, **options):
        """Return steps of which a half is every other column."""
        h, w, c = shape
        folded = (h, w // 2, 2 * c)
        return [Reshape(folded), *steps(folded, n, **options), Reshape(shape)] if n else []

    def squeeze(channels):
        """Return layers that move blocks of 2 x 2 places into channels, place by place."""
        return [Squeeze(), Permute([4 * c + place for place in range(4) for c in range(channels)])]

    shape, sizes = tuple(input_shape), {"width": width, "blocks": blocks, "heads": heads}
    parts: list[FlowLayer] = [
        Unconstrain([(-EDGE, EDGE)] * channels),
        *of_columns(shape, couplings[0], **sizes),
    ]
    for by_channels, by_columns in zip(couplings[1::2], couplings[2::2], strict=True):
        parts += squeeze(shape[-1])
        shape = (shape[0] // 2, shape[1] // 2, 4 * shape[2])
        parts += [*steps(shape, by_channels, **sizes), *of_columns(shape, by_columns, **sizes)]
    levels: dict[str, Any] = {"n_bits": n_bits, "levels": data_levels}
    if dequantize == "uniform":
        dequantizer = Dequantize(**levels)
    else:
        image_shape = tuple(input_shape)
        density = Chain(of_columns(image_shape, dequantizer_couplings, context="required", **of_noise))
        design = {"blocks": 3}
        if for_imagenet:
            design = {"blocks": dequantizer_blocks, "heads": of_noise["heads"], "normalized": True}
        image = GatedConvNet(IMAGE, **design, columns=2, dropout=dropout)
        dequantizer = VariationalDequantize(density, image, **levels)
    flow = Flow(Chain(parts), dequantize=dequantizer, name="flow_pp")
    return built(flow, input_shape, None)
