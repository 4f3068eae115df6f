"""Families of images in which each pixel or patch is changed given those before it."""

from typing import Annotated

from flowkit.bijectors import Autoregressive, Chain, Inverse, Repeat, Squeeze
from flowkit.bijectors.replay import Backprop
from flowkit.conditioners import CausalConvNet, CausalTransformer, LabelDropout
from flowkit.contract.arguments import Blocks, Count, Fraction, Positive, checked, words
from flowkit.data.dequantize import GaussianNoise
from flowkit.flow.flow import Flow
from flowkit.transforms import Gaussian, MixtureOfLogistics
from flowkit.zoo.family import ImageShape, built, dequantizer, entrance


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
    layer = Autoregressive(network, MixtureOfLogistics(mixtures, spread=3.0))
    layers = Chain([entrance(dequantize, equalize=True), layer])
    return built(Flow(layers, dequantize=dequantize, name="maf_images"), input_shape)


@checked
def tarflow(
    *,
    blocks: Blocks = 8,
    depth: Blocks = 8,
    width: Count = 768,
    heads: Count | None = None,
    patch: Count = 2,
    min_scale: Fraction = 0.0,
    equalize: bool = False,
    noise: Annotated[str, words("uniform", "gaussian")] = "uniform",
    noise_std: Positive = 0.05,
    num_classes: Count | None = None,
    label_dropout: Fraction = 0.1,
    jacobi: bool = False,
    n_bits: int | None = 8,
    data_levels: int | None = None,
    backprop: Backprop = "stored",
    input_shape: ImageShape | None = None,
) -> Flow:
    """TarFlow: patches, then `blocks` causal transformers, z_i = (x_i - mu(x_<i)) exp(-a(x_<i)) for each patch i.

    Pixels are scaled to [-1, 1]. Every other block takes the patches in reversed order. Made as published. Density
    takes one pass of each network; sampling finds one patch after another and keeps the keys and values of those
    before.

    - `depth`, `width`, `heads` (None: `width` / 64): of the transformer of a block.
    - `patch`: the side of a square patch; 2 for images of 64x64.
    - `min_scale` > 0 bounds exp(a) to (m, 1/m), which is not bounded as published (see `flowkit.transforms.Gaussian`).
    - `equalize`: pixels enter by their histogram, as in `jet`; needs noise="uniform".
    - `noise`: "uniform" dequantizes, for likelihoods. "gaussian" adds noise of the deviation `noise_std`, in units of
      pixels in [-1, 1], for samples, off which `Flow.sample` takes it again (see `flowkit.data.GaussianNoise`).
    - `num_classes`: densities given a class; the context is integer labels (batch,), or none. `label_dropout` is the
      part of the labels that training leaves out, which `flow.sample(n, labels, guidance=2.0)` needs.
    - `jacobi`: sampling finds all patches at once, in passes until nothing changes.
    - `n_bits`, `data_levels`, `input_shape`: as in `glow`.
    - `backprop`: "stored" or "recompute", as in `Chain`.

    Raises ValueError for an unknown word, a number out of range and a width that is no multiple of the heads,
    ContractError for images that are not divided into patches. Zhai et al., TarFlow: Normalizing Flows are Capable
    Generative Models (2024).

    >>> import numpy as np
    >>> flow = tarflow(blocks=2, depth=1, width=8, input_shape=(4, 4, 1))
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), dtype="uint8")
    >>> flow.log_prob(images).shape, flow.sample(2, seed=0).shape
    ((16,), (2, 4, 4, 1))
    """
    context = "none" if num_classes is None else "optional"

    def block(order):
        network = CausalTransformer(width, depth=depth, heads=heads, context=context, num_classes=num_classes)
        return Autoregressive(network, Gaussian(min_scale=min_scale), order=order, jacobi=jacobi)

    pair = Chain([block(None), block("reversed")])
    pairs = [Repeat(pair, blocks // 2, backprop=backprop)] if blocks > 1 else []
    last = [Chain([block(None)], backprop=backprop)] if blocks % 2 else []
    if noise == "uniform":
        dequantize = dequantizer(n_bits, data_levels)
    elif equalize:
        raise ValueError("tarflow's equalize=True: got noise='gaussian', expected noise='uniform'.")
    else:
        dequantize = GaussianNoise(noise_std / 2, n_bits, levels=data_levels)
    layers = [entrance(dequantize, equalize), Squeeze(patch), *pairs, *last, Inverse(Squeeze(patch))]
    embedding = None if num_classes is None else LabelDropout(num_classes, rate=label_dropout)
    flow = Flow(Chain(layers), embedding=embedding, dequantize=dequantize, name="tarflow")
    return built(flow, input_shape)
