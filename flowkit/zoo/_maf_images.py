"""A masked autoregressive flow for images: PixelCNN's masked convolutions and mixtures of logistics."""

from flowkit.bijectors import Autoregressive, Chain
from flowkit.conditioners import CausalConvNet
from flowkit.contract.arguments import Blocks, Count, checked
from flowkit.flow.flow import Flow
from flowkit.transforms import MixtureOfLogistics
from flowkit.zoo._images import ImageShape, built, dequantizer, entrance


@checked
def maf_images(
    *,
    input_shape: ImageShape,
    width: Count = 128,
    depth: Blocks = 2,
    reach: Count = 6,
    mixtures: Count = 8,
    n_bits: int | None = 8,
    data_levels: int | None = None,
) -> Flow:
    """A masked autoregressive flow of pixels: z_i = f(x_i; h(x_1, ..., x_(i-1))), f by a mixture of logistics.

    Pixels are equalised by their histogram, so a value that is frequent, such as a black background, costs little. Then
    one autoregressive layer moves each pixel, given a window of the pixels above it and on its left. Density takes one
    pass of the network; sampling finds one pixel after another. All channels of a pixel are moved at once, given the
    pixels before: colours are independent of each other there.

    - `input_shape`: (height, width, channels).
    - `width`, `depth`, `reach`: of `flowkit.conditioners.CausalConvNet`.
    - `mixtures`: the components of a mixture.
    - `n_bits`, `data_levels`: as in `glow`.

    Raises ValueError for a number out of range. van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural
    Networks (2016); Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017); Papamakarios, Pavlakou & Murray, Masked
    Autoregressive Flow (2017).

    >>> import numpy as np
    >>> flow = maf_images(input_shape=(4, 4, 1), width=8, depth=1, reach=2, mixtures=2)
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), dtype="uint8")
    >>> flow.adapt(images).log_prob(images).shape
    (16,)
    """
    network = CausalConvNet(width, columns=input_shape[1], depth=depth, reach=reach)
    dequantize = dequantizer(n_bits, data_levels)
    layers = [
        entrance(dequantize, equalize=True),
        Autoregressive(network, MixtureOfLogistics(mixtures, spread=3.0)),
    ]
    flow = Flow(Chain(layers), dequantize=dequantize, name="maf_images")
    return built(flow, input_shape, None)
