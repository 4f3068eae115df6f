"""Families of images: Real NVP, Glow, Flow++ and Jet of couplings; pixels and patches changed given those before."""

import functools
from typing import Annotated, Any

from flowkit.bijectors import (
    ActNorm,
    Autoregressive,
    BatchNorm,
    Chain,
    Conv1x1,
    Coupling,
    EmergingConv,
    Flatten,
    Inverse,
    MultiScale,
    OnColumns,
    PatchCoupling,
    PeriodicConv,
    Permute,
    Repeat,
    Reshape,
    Squeeze,
    Unconstrain,
)
from flowkit.bijectors.patch_coupling import JET
from flowkit.bijectors.replay import Backprop
from flowkit.conditioners import (
    CausalConvNet,
    CausalTransformer,
    ConvNet,
    GatedAttention,
    GatedConvNet,
    LabelDropout,
    ResidualConvNet,
    ScaledConv,
    SplitPrior,
    TopPrior,
    ViT,
)
from flowkit.conditioners.convnets import Heads
from flowkit.contract.arguments import Blocks, Count, Fraction, Positive, Wholes, checked, real, whole, words
from flowkit.contract.flow_layer import FlowLayer
from flowkit.data import VariationalDequantize
from flowkit.data.dequantize import GaussianNoise
from flowkit.flow.flow import Flow
from flowkit.transforms import Additive, Affine, Gaussian, MixtureOfLogistics
from flowkit.zoo.family import EDGE, Bits, DataLevels, ImageShape, built, dequantizer, entrance
from flowkit.zoo.labelled import LabelledFlow

IMAGE = 32  # the width of the network of the image in Flow++


@checked
def realnvp_images(
    *,
    input_shape: ImageShape,
    levels: Annotated[int, whole(1, 16)] = 2,
    width: Count = 64,
    blocks: Blocks = 8,
    n_bits: Bits = 8,
    data_levels: DataLevels | None = None,
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
    Dinh, Sohl-Dickstein & Bengio, Density Estimation using Real NVP (2017).

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
    noise = dequantizer(n_bits, data_levels)
    return built(
        Flow(Chain([edges, MultiScale(scales)]), dequantize=noise, name="realnvp_images"), input_shape
    )


@checked
def glow(
    *,
    levels: Annotated[int, whole(1, 16)] = 3,
    steps: Annotated[int, whole(1, 1024)] = 32,
    width: Annotated[int, whole(1, 2**14)] = 512,
    coupling: Annotated[str, words("affine", "additive")] = "affine",
    min_scale: Annotated[float, real(0, 0.999, "a number from 0 to 0.999")] = 0.0,
    permutation: Annotated[str, words("conv1x1", "emerging", "periodic", "shuffle", "reverse")] = "conv1x1",
    n_bits: Bits | None = 8,
    data_levels: DataLevels | None = None,
    learn_top: bool = True,
    num_classes: Count | None = None,
    class_conditioning: Annotated[str, words("top_prior", "all_levels")] = "top_prior",
    classifier_weight: Annotated[float, real(0, 1e6, "a number from 0 to 1e+06")] = 0.0,
    lu: bool = True,
    backprop: Backprop = "stored",
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
    - `learn_top`: the prior of the last latents is learned.
    - `num_classes`: the density is given a class, and the context is integer labels (batch,). `class_conditioning` says
      what reads it, if there are classes: "top_prior", as published, the prior of the last latents alone, which have
      few of the bits; "all_levels", also every coupling, z_b = f(b; h(a, label)), by a bias of its network's first
      layer, (width,) for each class, and the prior of every level (`SplitPrior`), as in Winkler, Worrall, Hoogeboom &
      Welling, Learning Likelihoods with Conditional Normalizing Flows (2019).
    - `classifier_weight`: above 0, the last latents are also trained to tell the class, and the bits that
      this takes count so much beside the bits per dimension: a `flowkit.LabelledFlow`. Needs "top_prior".
    - `backprop`: what is kept for the backward pass, as in `Chain`.
    - `lu=False`: the plain matrix of the published code.
    - `input_shape`: (height, width, channels) makes the weights now, otherwise the first data do.

    Raises ValueError for an unknown word, a number out of range and a classifier without classes, ContractError for
    images that cannot be halved `levels` times. Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1
    Convolutions (2018).

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

    everywhere = num_classes is not None and class_conditioning == "all_levels"
    reads = {"context": "required", "num_classes": num_classes} if everywhere else {}

    def step():
        return Chain([ActNorm(), *mix(), Coupling(ConvNet(width, **reads), transform, layout="interleaved")])

    def scale():
        return Chain([Squeeze(), Repeat(step(), steps)], backprop=backprop)

    bijector = MultiScale(
        [scale() for _ in range(levels)],
        priors=[SplitPrior(num_classes) if everywhere else ScaledConv(zeros=True) for _ in range(levels - 1)],
        top_prior=TopPrior(learn=learn_top, num_classes=num_classes) if learn_top or num_classes else None,
        min_scale=min_scale,
    )
    if classifier_weight and num_classes is None:
        raise ValueError("glow's num_classes: got None, expected a number for classifier_weight.")
    if classifier_weight and everywhere:
        raise ValueError(
            "glow's class_conditioning: got 'all_levels' with a classifier_weight, expected 'top_prior', which leaves "
            "the last latents free of the label to predict. Leave one of the two out."
        )
    kind = functools.partial(LabelledFlow, label_weight=classifier_weight) if classifier_weight else Flow
    return built(kind(bijector, dequantize=dequantizer(n_bits, data_levels), name="glow"), input_shape)


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
    n_bits: Bits = 8,
    data_levels: DataLevels | None = None,
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
    Ho, Chen, Srinivas, Duan & Abbeel, Flow++: Improving Flow-Based Generative Models with Variational Dequantization
    and Architecture Design (2019).

    >>> import numpy as np
    >>> flow = flow_pp(input_shape=(4, 4, 1), width=4, mixtures=2, blocks=1, couplings=(1, 1, 1), heads=2)
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), dtype="uint8")
    >>> flow.adapt(images).log_prob(images, samples=2).shape
    (16,)
    """
    if len(couplings) % 2 == 0:
        raise ValueError(
            f"flow_pp's couplings: got {couplings}, expected three numbers, such as (4, 2, 3), or two more for each "
            "further squeeze."
        )
    height, columns, channels = input_shape
    places = 2 ** (len(couplings) // 2)
    if height % places or columns % (2 * places):
        raise ValueError(
            f"flow_pp's input_shape: got {input_shape}, expected a height that is a multiple of {places} and a width "
            f"that is a multiple of {2 * places}. Resize or pad the images."
        )
    for_imagenet = variant == "imagenet"
    noise_heads = heads if dequantizer_heads is None else dequantizer_heads
    of_noise = {"width": dequantizer_width or width, "blocks": dequantizer_blocks, "heads": noise_heads}

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

    shape, sizes = input_shape, {"width": width, "blocks": blocks, "heads": heads}
    parts: list[FlowLayer] = [
        Unconstrain([(-EDGE, EDGE)] * channels),
        *of_columns(shape, couplings[0], **sizes),
    ]
    for by_channels, by_columns in zip(couplings[1::2], couplings[2::2], strict=True):
        # Blocks of 2 x 2 places become channels, place by place.
        parts += [Squeeze(), Permute([4 * c + place for place in range(4) for c in range(shape[-1])])]
        shape = (shape[0] // 2, shape[1] // 2, 4 * shape[2])
        parts += [*steps(shape, by_channels, **sizes), *of_columns(shape, by_columns, **sizes)]
    if dequantize == "uniform":
        noise: Any = dequantizer(n_bits, data_levels)
    else:
        density = Chain(of_columns(input_shape, dequantizer_couplings, context="required", **of_noise))
        deeper = {"blocks": dequantizer_blocks, "heads": noise_heads, "normalized": True}
        design = deeper if for_imagenet else {"blocks": 3}
        image = GatedConvNet(IMAGE, **design, columns=2, dropout=dropout)
        noise = VariationalDequantize(density, image, n_bits=n_bits, levels=data_levels)
    return built(Flow(Chain(parts), dequantize=noise, name="flow_pp"), input_shape)


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
    n_bits: Bits | None = 8,
    data_levels: DataLevels | None = None,
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
    that are not divided into patches, or patches that are not divided into halves. Kolesnikov, Pinto & Tschannen, Jet:
    A Modern Transformer-Based Normalizing Flow (2024).

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
    couplings = Repeat(coupling, depth, backprop=backprop)
    layers = [entrance(dequantize, equalize), Squeeze(patch), couplings, Inverse(Squeeze(patch))]
    return built(Flow(Chain(layers), dequantize=dequantize, name="jet"), input_shape)


@checked
def maf_images(
    *,
    input_shape: ImageShape,
    width: Count = 128,
    depth: Blocks = 2,
    reach: Count = 6,
    mixtures: Count = 8,
    n_bits: Bits | None = 8,
    data_levels: DataLevels | None = None,
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
    n_bits: Bits | None = 8,
    data_levels: DataLevels | None = None,
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
