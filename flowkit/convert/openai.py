"""Weights in the names and shapes of Glow's published code (Kingma & Dhariwal, 2018)."""

import re
from collections.abc import Sequence

import numpy as np
from keras import ops

from flowkit.bijectors import Conv1x1
from flowkit.contract import Tensor
from flowkit.contract.adaptation import mark_adapted
from flowkit.convert.published import check_published, separate_steps, slots
from flowkit.convert.weights import Weights, arrays_of, check_log_prob
from flowkit.flow.flow import Flow
from flowkit.zoo import glow

# A checkpoint also keeps the optimizer's slots (`Variable_7`) and running averages, which are no part of
# the model, and a classifier that is trained beside it and no part of the density.
_IGNORED = re.compile(r"(?!model/)|.*/ExponentialMovingAverage(/|$)|model/classifier/")
_STEP = re.compile(r"model/(\d+)/(\d+)/(.+)")


def from_openai(
    variables: Tensor,
    *,
    n_bits: int | None = 8,
    input_shape: Sequence[int] | None = None,
    check: str | bool | None = None,
) -> Flow:
    """Return a `Flow` with the weights of a checkpoint of Glow's published code: the same latents and densities.

    - `variables`: names (`model/0/0/actnorm_center/b`, ...) to arrays, as in `read_variables` or `np.load`.
      Levels, steps, width, image channels, coupling, permutation, the learned top prior and classes
      follow from names and shapes. Left aside are the optimizer's variables, running averages
      (`.../ExponentialMovingAverage`) and the classifier, `model/classifier/*`.
    - `n_bits`: of the images that the model was trained on, which the variables do not tell; None
      gives the model on inputs that are dequantised already, in [-0.5, 0.5].
    - `input_shape`: (height, width, channels). Weights belong to channels, so the size may stay open
      until the first data.
    - `check`: {"rows": ..., "log_prob": ...} of the original, or an .npz file of these, to compare with. Rows are
      channels last, in [-0.5, 0.5]. ValueError with the largest difference.

    Raises ValueError that names what is missing, mis-shaped or too much, with the expected shape.

    >>> from flowkit.zoo import glow
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype="uint8")
    >>> flow = glow(levels=2, steps=1, width=8).adapt(images)
    >>> ported = from_openai(to_openai(flow))
    >>> bool(np.allclose(ported.log_prob(images), flow.log_prob(images), rtol=1e-4))
    True
    """
    arrays = {name: array for name, array in arrays_of(variables).items() if not _IGNORED.match(name)}
    return check_log_prob(
        make(infer(arrays), arrays, n_bits=n_bits, input_shape=input_shape, lu=False), check
    )


def to_openai(flow: Flow) -> dict[str, np.ndarray]:
    """Return the weights of a Glow under the published names, numpy arrays: the inverse of `from_openai`.

    A PLU convolution is written as its product W. The number of bits and the size of the images are
    not part of the variables. Raises ValueError for a flow that the published code cannot express, or
    that has seen no data.

    >>> from flowkit.zoo import glow
    >>> flow = glow(levels=1, steps=1, width=8).adapt(np.arange(192, dtype="uint8").reshape(4, 4, 4, 3))
    >>> variables = to_openai(flow)
    >>> variables["model/0/0/invconv/W"].shape, variables["model/0/0/f1/l_1/W"].shape
    ((12, 12), (3, 3, 7, 8))
    """
    check_published(flow.bijector)
    with separate_steps(flow.bijector.scales) as steps:
        variables = {  # copies: on torch the arrays would be the weights themselves
            name: np.array(ops.convert_to_numpy(_value(target))).reshape(shape)
            for name, target, shape in slots(flow.bijector, steps)
        }
    if flow.event_shape is not None:  # one of no size is a port, which has seen no data
        _check_densities(flow, variables)
    return variables


def _check_densities(flow, variables):
    """Raise ValueError unless a port of the variables has the densities of the flow."""
    rows = np.random.default_rng(0).uniform(-0.5, 0.5, (2, *flow.event_shape)).astype("float32")
    context = {} if flow.bijector.num_classes is None else {"context": np.zeros(2, "int32")}
    expected = Flow(flow.bijector, base=flow.base).log_prob(rows, context.get("context"))
    try:
        from_openai(variables, n_bits=None, check={"rows": rows, "log_prob": expected, **context})
    except ValueError as error:
        raise ValueError(f"to_openai expects a Glow that the published code can express. {error}") from None


def make(options, arrays, *, n_bits, input_shape, lu):
    """Return a Glow of these options (those of `glow`, and `channels`) with weights under the published names."""
    options = dict(options)
    channels = options.pop("channels")
    flow = glow(**options, n_bits=n_bits, input_shape=input_shape, lu=lu)
    if input_shape is None:
        side = 2 ** options["levels"]
        labels = None if options["num_classes"] is None else (None,)
        flow.bijector.build_parts((None, side, side, channels), labels)
    with separate_steps(flow.bijector.scales) as steps:
        fill(slots(flow.bijector, steps), arrays)
    mark_adapted(flow.bijector)
    return flow


def fill(targets, arrays):
    """Set the weights of `targets`, as `slots` gives them, from arrays under the published names."""
    weights = Weights(arrays)
    for name, target, shape in targets:
        array = weights.take(name, shape)
        _check_invertible(name, array, arrays)
        # A copy: JAX may keep the very memory that is passed.
        target.assign(np.array(array).reshape(shape if isinstance(target, Conv1x1) else target.shape))
    weights.refuse_rest()


def _check_invertible(name, array, arrays):
    if name.endswith("/invconv/W") and not np.isfinite(np.linalg.slogdet(array.astype("float64"))[1]):
        raise ValueError(f"{name} is singular: expected an invertible matrix")
    if name.endswith("/shuffle/indices"):
        order, back = np.arange(len(array)), arrays.get(f"{name}_inverse", array)
        if not np.array_equal(np.sort(array), order) or not np.array_equal(np.argsort(array), back):
            raise ValueError(f"{name} and {name}_inverse: expected a permutation and its inverse")


def _value(target):
    return target.matrix() if isinstance(target, Conv1x1) else target


def infer(arrays):
    """Return the options of `glow`, and the channels of the images."""
    steps = [match for match in map(_STEP.match, arrays) if match]
    if not steps:
        shown = next(iter(arrays), "none")
        raise ValueError(f"expected variables such as model/0/0/actnorm_center/b, received {shown}")
    weights, first = Weights(arrays), "model/0/0"
    size = weights.take(f"{first}/actnorm_center/b", (1, 1, 1, None)).size
    outputs = weights.take(f"{first}/f1/l_last/W", (3, 3, None, None)).shape[-1]
    parts = {match[3].split("/")[0] for match in steps}
    classes = any(name.startswith("model/prior/y_emb/") for name in arrays)
    return {
        "channels": size // 4,
        "levels": 1 + max(int(match[1]) for match in steps),
        "steps": 1 + max(int(match[2]) for match in steps),
        "width": weights.take(f"{first}/f1/l_1/W", (3, 3, None, None)).shape[-1],
        "coupling": "affine" if outputs == size else "additive",
        # What neither convolves nor shuffles reverses, and keeps nothing.
        "permutation": "conv1x1" if "invconv" in parts else "shuffle" if "shuffle" in parts else "reverse",
        "learn_top": any(name.startswith("model/prior/p/") for name in arrays),
        "num_classes": len(weights.take("model/prior/y_emb/W", (None, None))) if classes else None,
    }
