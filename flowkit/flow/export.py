"""Export one of a flow's functions as a file that needs neither flowkit nor Keras."""

import functools
import importlib.util
import os
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from flowkit._engine import pip_install
from flowkit.contract import ContractError
from flowkit.contract.arguments import one_of
from flowkit.contract.call import Call
from flowkit.contract.noise import needs_for
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine
from flowkit.flow.inputs import check_adapted, check_context, embedded
from flowkit.flow.rows import (
    middle_noise,
    middle_of_bins,
    middles,
    refuse_varying,
    run_rows,
    run_without_gradients,
)
from flowkit.flow.sampling import latents

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

BATCHES = (1, 3, 64)  # at which a file is compared with the flow
TOLERANCE, MOST = 1e-5, 1e-3  # of the size of an answer; and the most that rounding excuses
ROUNDINGS = 8  # each entry up or down at random: which of them it is decides about a factor of three

# what -> (the flow's function, what it is given, what it answers)
_FUNCTIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "decode": ("_to_data", "z", ("x",)),
    "encode": ("_to_latents", "x", ("z",)),
    "log_prob": ("_log_density", "x", ("log_prob",)),
    "encode_and_log_prob": ("_score", "x", ("z", "log_prob")),
}


def export(
    flow: "Flow", path: Any, what: str, format: str, context: Any, *, continuous: bool = False
) -> float:
    """Write one of a flow's functions to `path`, compare it with the flow: see `Flow.export`.

    With `continuous`, x are the continuous values of a flow with `dequantize`, not the stored ones.
    """
    function, given, answers = _FUNCTIONS[one_of("export's what", what, tuple(_FUNCTIONS))]
    one_of("export's format", format, tuple(FORMATS))
    if "log_prob" in answers:
        refuse_varying(flow.dequantize, f"export of {what!r}")
    path, suffix = Path(path), FORMATS[format].suffix
    if path.suffix != suffix:
        ends = f"a name that ends in {suffix}" if suffix else "a folder, whose name has no ending"
        raise ValueError(f"export: got {path} for {format!r}, expected {ends}.")
    require(format)
    dequantize = None if continuous else flow.dequantize
    inputs, expected, allowed = _to_compare_on(flow, function, given, context, dequantize)
    model = Answering(flow, getattr(flow, function), dequantize, inverse=given == "z")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        few = {name: array[:3] for name, array in inputs.items()}
        tensors = [ops.convert_to_tensor(array) for array in few.values()]
        model(tensors if len(tensors) > 1 else tensors[0])
        known = list(zip(answers, expected, allowed, strict=True))
        compare = functools.partial(_compare, flow, inputs, known, dequantize)
        worst = _written(flow, format, model, temporary, few, compare)
        for made in sorted(Path(folder).iterdir()):
            os.replace(made, path.parent / made.name)
    return worst


def _written(flow, format, model, path, few, compare):
    """Write a file in the first of the engine's ways by which it agrees; return how much it differs."""
    errors: list[Exception] = []
    for way in range(engine.ways_to_write(format)):
        try:
            write(model, path, format, few, way)
            return compare(read(path, format))
        except Exception as error:  # the exporter does not know something, or has got it wrong
            path.unlink(missing_ok=True)
            errors.append(error)
    if all(isinstance(error, ContractError) for error in errors):
        raise errors[-1]
    reasons = "; ".join(" ".join(str(error).split())[:300] or type(error).__name__ for error in errors)
    expected = f"a file of the format {format} that answers as the flow does"
    raise _refused(flow, expected, f"none, in {len(errors)} ways: {reasons}") from errors[-1]


def _refused(flow, expected, received):
    hint = "Nothing was written. Another format or backend may do: a .keras file loads on each."
    return ContractError("export", flow, expected=expected, received=received, hint=hint)


def _to_compare_on(flow, function, given, context, dequantize):
    """Return ({name: rows of an input}, the flow's answers to them, by how much each may differ).

    With `dequantize` the input x holds stored values; the answers are to the middles of their bins, or continuous.
    """
    check_adapted(flow)
    inverse, spec = given == "z", flow.bijector.spec
    scores = function not in ("_to_latents", "_to_data")
    if spec.draws(inverse=inverse) and (scores or spec.likelihood != "estimated"):
        received = f"one that draws noise on the way {'to data' if inverse else 'to latents'}"
        wanted, hint = "a flow that draws nothing on this way", "Export the other direction of such a flow."
        raise ContractError("export", flow, expected=wanted, received=received, hint=hint)
    context = _rows(check_context(flow, context), max(BATCHES))
    seen = embedded(flow, context, None)
    rows = latents(flow, max(BATCHES), seen, 1.0, 0)
    if not inverse:
        rows = run_rows(flow, flow._to_data, rows, seen, inverse=True)
    inputs = {given: rows}
    if not inverse and flow.dequantize is not None:
        pixels = flow.dequantize.as_stored(rows)
        rows = middles(flow, pixels)
        inputs = {given: rows if dequantize is None else pixels.astype("float32")}

    def answers(rows):
        noise = _noise_unread(flow, ops.convert_to_tensor(rows), inverse=inverse)
        found = run_without_gradients(flow, getattr(flow, function), rows, seen, noise)
        return [ops.convert_to_numpy(part) for part in tree.flatten(found)]

    expected = answers(rows)
    rng, eps = np.random.default_rng(0), np.finfo(rows.dtype).eps
    moved = []
    for _ in range(ROUNDINGS):
        rounding = rng.choice([-1, 1], rows.shape).astype("float32") * eps
        pairs = zip(expected, answers(rows * (1 + rounding)), strict=True)
        moved.append([_difference(*pair) for pair in pairs])
    inputs |= {} if context is None else {"context": context}
    return inputs, expected, np.clip(np.max(moved, axis=0), TOLERANCE, MOST)


def _compare(flow, inputs, answers, dequantize, run):
    """Return the largest difference of a file's answers from the flow's. Raises ContractError if it is too large."""
    worst = 0.0
    for batch in BATCHES:
        received = run({name: array[:batch] for name, array in inputs.items()})
        for (name, here, allowed), there in zip(answers, received, strict=True):
            here, there = here[:batch], np.asarray(there)
            if name == "x" and dequantize is not None:
                there = _nearest(flow, here, there)
            error = _difference(here, there)
            if not error <= allowed:
                expected = f"a file that gives the flow's {name} to {allowed:.2g} of its size"
                raise _refused(flow, expected, f"one that is off by {error:.2g} at a batch of {batch}")
            worst = max(worst, error)
    return worst


def _nearest(flow, y, pixels):
    """Return the continuous values nearest to `y` that are stored as `pixels`; NaN for pixels that cannot be stored.

    So rounding may move an entry over the edge of its bin if it lies that close to the edge.
    """
    if pixels.shape != y.shape:
        return pixels
    outside, inside = y, middles(flow, pixels)
    inside = np.where(flow.dequantize.as_stored(inside) == pixels, inside, np.nan)
    for _ in range(30):  # halve the way to the edge of the bin
        half = (outside + inside) / 2
        stored = flow.dequantize.as_stored(half) == pixels
        outside, inside = np.where(stored, outside, half), np.where(stored, half, inside)
    return inside


class Answering(keras.Model):
    """A function of a flow as a model without weights, which an exporter can call: they are constants of it.

    With `dequantize` the data that it takes or returns are stored values, float32.
    """

    def __init__(self, flow: "Flow", function: Callable, dequantize: Any, *, inverse: bool) -> None:
        super().__init__(name="flow")
        numbers = [(variable, ops.convert_to_numpy(variable)) for variable in flow.variables]
        # Some formats can hold neither the triangular solves nor the diagonals of what weights alone determine.
        shape = (None, *flow._event())
        shape = flow.bijector.compute_output_shape(shape) if inverse else shape
        constants = _tensors_as(ops.convert_to_numpy, flow.bijector.derive(shape, inverse))

        def answer(x, context=None):
            values = [(variable, ops.convert_to_tensor(array)) for variable, array in numbers]
            derived = _tensors_as(ops.convert_to_tensor, constants)
            with keras.StatelessScope(values):
                x = x if inverse or dequantize is None else middle_of_bins(dequantize, x)
                noise = _noise_unread(flow, x, inverse=inverse)
                found = function(x, flow.embed(context), noise, derived=derived, for_export=True)
                if not inverse or dequantize is None:
                    return found
                call = Call(inverse=True, log_det=False, for_export=True)
                return ops.cast(dequantize.run(found, call)[0], "float32")

        self.answer = answer  # a closure, in which Keras does not look for layers

    def call(self, given: Any) -> Any:
        """Return the output of the flow's function for x, or for [x, context]."""
        return self.answer(*given) if isinstance(given, list | tuple) else self.answer(given)


def _tensors_as(convert, nest):
    return tree.map_structure(lambda value: convert(value) if hasattr(value, "shape") else value, nest)


def _noise_unread(flow, x, *, inverse):
    """Return noise for a direction that only the estimate of its log-det reads; None for no needs."""
    return middle_noise(needs_for(flow.bijector, as_tuple(x.shape), inverse=inverse), x)


def _rows(context, count):
    """Return a context of `count` rows: those of `context`, over and over."""
    if context is None:
        return None
    if isinstance(context, dict):
        raise ValueError(f"export: got a dict of {sorted(context)} as context, expected one tensor.")
    rows = ops.convert_to_tensor(context[np.arange(count) % len(context)])
    return ops.convert_to_numpy(rows)  # whole numbers of the engine's own size, as its graph has them


def _difference(here, there):
    """Return the largest difference of two answers as a part of the size of a row, or of the median row if larger."""
    if here.shape != there.shape:
        return np.inf
    here, there = (part.reshape(len(part), -1).astype("float64") for part in (here, there))
    finite = np.isfinite(here).all(axis=1)  # of a draw that overflows nothing can be said
    if not finite.any():
        return np.inf
    here, there = here[finite], there[finite]
    sizes = np.abs(here).max(axis=1)
    error = np.abs(here - there).max(axis=1) / np.maximum(np.maximum(sizes, np.median(sizes)), 1e-30)
    return float(np.nan_to_num(error, nan=np.inf).max())


# Formats


class Format(NamedTuple):
    """A format of files; `packages` are the modules that each engine needs to write it."""

    suffix: str
    packages: dict[str, tuple[str, ...]]


_ONNX = {"torch": ("onnx", "onnxscript"), "jax": ("onnx", "jax2onnx"), "tensorflow": ("onnx", "tf2onnx")}
FORMATS = {
    "onnx": Format(".onnx", {name: (*own, "onnxruntime") for name, own in _ONNX.items()}),
    "openvino": Format(".xml", {name: (*own, "openvino") for name, own in _ONNX.items()}),
    "torch": Format(".pt2", {"torch": ()}),
    "saved_model": Format("", {"tensorflow": ()}),
    "litert": Format(".tflite", {"tensorflow": ()}),
}


def write(model: Any, path: Path, format: str, inputs: dict[str, Any], way: int) -> None:
    """Write a model to `path` in one of the engine's ways."""
    if format != "openvino":
        engine.write_graph(model, str(path), format, inputs, way)
        return
    import openvino

    onnx = path.with_suffix(".onnx")  # which every engine writes
    engine.write_graph(model, str(onnx), "onnx", inputs, way)
    openvino.save_model(openvino.convert_model(str(onnx)), str(path), compress_to_fp16=False)
    onnx.unlink()


def read(path: Path, format: str) -> Callable[[dict[str, Any]], Any]:
    """Return a function (name -> array) -> arrays that runs a file."""
    if format == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        return lambda inputs: session.run(None, {name: inputs[name] for name in names})
    if format == "openvino":
        import openvino

        # By default some processors compute in less.
        compiled = openvino.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda inputs: list(compiled(dict(inputs)).values())
    return engine.read_graph(str(path), format)


def require(format: str) -> None:
    """Raise ValueError if the engine cannot write a format, ImportError if packages for it are missing."""
    name, packages = engine.name, FORMATS[format].packages
    if name not in packages:
        raise ValueError(
            f"export: got {format!r} on {name}, expected {' or '.join(packages)} for this format. Save a .keras file "
            f"and load it with KERAS_BACKEND={next(iter(packages))}."
        )
    missing = [package for package in packages[name] if importlib.util.find_spec(package) is None]
    if missing:
        extra = "export" if name == "torch" else f"export-{name}"
        raise ImportError(f"{format!r} on {name} needs {', '.join(missing)}: {pip_install(extra)}")
    # Later ones name the JAX that they support.
    if "jax2onnx" in packages[name] and _version("jax") >= (0, 12) and _version("jax2onnx") < (0, 18):
        raise ImportError(
            f"{format!r} on jax: got JAX {metadata.version('jax')}, which jax2onnx {metadata.version('jax2onnx')} does "
            "not support. Save a .keras file and export it with KERAS_BACKEND=torch, or run pip install 'jax<0.12'"
        )


def _version(package):
    return tuple(map(int, metadata.version(package).split(".")[:2]))
