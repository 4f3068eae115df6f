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
from flowkit.conditioners import GatedAttention, GatedConvNet
from flowkit.contract.arguments import Blocks, Count, Fraction, Wholes, checked, whole, words
from flowkit.contract.flow_layer import FlowLayer
from flowkit.data import Dequantize, VariationalDequantize
from flowkit.flow.flow import Flow
from flowkit.transforms import MixtureOfLogistics
from flowkit.zoo._images import EDGE, ImageShape

COUPLINGS = 4  # of the dequantiser


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
    n_bits: Annotated[int, whole(1, 8)] = 8,
    data_levels: int | None = None,
    lu: bool = True,
) -> Flow:
    """Flow++: a logit, `couplings` (4 of columns, squeeze, 2 of channels, 3 of columns), variational dequantisation.

    A step normalises each entry, multiplies each half by a matrix, and moves one half by the distribution function of
    a mixture of logistics and a scale and shift, as a network with self-attention reads off the other half; then the
    halves change places. Halves are every other column, or half of the channels.

    - `input_shape`: (height, width, channels); the height is a multiple of 2, the width one of 4.
    - `width`, `blocks`, `heads`, `dropout`: of `GatedAttention`. `mixtures`: the components of a mixture.
    - `couplings`: how many steps of columns, then of channels, then of columns.
    - `dequantize`: "variational", or "uniform" for `Dequantize`. Its networks have `dequantizer_width`
      (None: `width`) and `dequantizer_blocks`.
    - `n_bits`, `data_levels`: as in `glow`.
    - `lu=False`: plain matrices, with which the numbers of trainable parameters are the published ones.

    As published, but for the logarithms of the mixtures' scales, which are bounded, for means that begin evenly spread,
    and for matrices that begin at the identity without noise. log_prob is a bound (`flow.exact`); `samples=k` gives the
    importance-weighted one.

    Raises ValueError for a number out of range, an unknown word, or an image that cannot be halved so.
    Ho, Chen, Srinivas, Duan & Abbeel (2019).

    >>> import numpy as np
    >>> flow = flow_pp(input_shape=(4, 4, 1), width=4, mixtures=2, blocks=1, couplings=(1, 1, 1), heads=2)
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), dtype="uint8")
    >>> flow.adapt(images).log_prob(images, samples=2).shape
    (16,)
    """
    height, columns, channels = input_shape
    if height % 2 or columns % 4:
        raise ValueError(
            f"flow_pp's input_shape: expected a height that is a multiple of 2 and a width that is a multiple of 4, "
            f"received {tuple(input_shape)}. Resize or pad the images."
        )
    if len(couplings) != 3:
        raise ValueError(
            f"flow_pp's couplings: expected three numbers, such as (4, 2, 3), received {couplings}."
        )

    def steps(shape, n, width, blocks, context="none"):
        """Return `n` steps on events of `shape`, of which the first half of the channels is kept first."""
        half = shape[-1] // 2
        marks = [[True] * half + [False] * half, [False] * half + [True] * half]
        network = GatedAttention(width, blocks=blocks, heads=heads, dropout=dropout, context=context)
        step = [
            *(Flatten(), ActNorm(1.0), Reshape(shape)),
            *(OnColumns(Conv1x1(lu=lu, init="identity"), marked) for marked in marks),
            *(Coupling(network, MixtureOfLogistics(mixtures)), Permute("reverse")),
        ]
        return Repeat(Chain(step), n)

    def of_columns(shape, *given, **options):
        """Return steps of which a half is every other column."""
        h, w, c = shape
        return [Reshape((h, w // 2, 2 * c)), steps((h, w // 2, 2 * c), *given, **options), Reshape(shape)]

    squeezed = (height // 2, columns // 2, 4 * channels)
    first, second, third = couplings
    parts: list[FlowLayer] = [
        Unconstrain([(-EDGE, EDGE)] * channels),
        *of_columns(tuple(input_shape), first, width, blocks),
        *(Squeeze(), Permute([4 * c + place for place in range(4) for c in range(channels)])),
        steps(squeezed, second, width, blocks),
        *of_columns(squeezed, third, width, blocks),
    ]
    levels: dict[str, Any] = {"n_bits": n_bits, "levels": data_levels}
    if dequantize == "uniform":
        dequantizer = Dequantize(**levels)
    else:
        of_noise = dequantizer_width or width, dequantizer_blocks
        density = Chain(of_columns(tuple(input_shape), COUPLINGS, *of_noise, context="required"))
        image = GatedConvNet(32, blocks=3, columns=2, dropout=dropout)
        dequantizer = VariationalDequantize(density, image, **levels)
    flow = Flow(Chain(parts), dequantize=dequantizer, name="flow_pp")
    flow.build((None, *input_shape))
    return flow
