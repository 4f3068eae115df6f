"""The formats that a flow is exported to: who writes them, what runs them, and what that needs."""

import fnmatch
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flowkit.engines import engine


class Format(NamedTuple):
    """One format; `packages` are those that each engine which can write it needs, by what they are imported as."""

    suffix: str
    packages: dict[str, tuple[str, ...]]
    write: Callable[[Any, Path, dict[str, Any], int], None]
    read: Callable[[Path], Callable]


def _written(name):
    return lambda model, path, inputs, way: engine.write_graph(model, str(path), name, inputs, way)


def _run_by_engine(name):
    return lambda path: engine.read_graph(str(path), name)


def _run_by_onnxruntime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in names})


def _write_openvino(model, path, inputs, way):
    """By way of ONNX, which every engine writes."""
    import openvino

    onnx = path.with_suffix(".onnx")
    engine.write_graph(model, str(onnx), "onnx", inputs, way)
    openvino.save_model(openvino.convert_model(str(onnx)), str(path), compress_to_fp16=False)
    onnx.unlink()


def _run_by_openvino(path):
    import openvino

    # By default some processors compute in less.
    compiled = openvino.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: list(compiled(dict(inputs)).values())


_ONNX = {
    "torch": ("onnx", "onnxscript"),
    "jax": ("onnx", "jax2onnx"),
    "tensorflow": ("onnx", "tf2onnx"),
}
FORMATS = {
    "onnx": Format(
        ".onnx",
        {engine: (*names, "onnxruntime") for engine, names in _ONNX.items()},
        _written("onnx"),
        _run_by_onnxruntime,
    ),
    "openvino": Format(
        ".xml",
        {engine: (*names, "openvino") for engine, names in _ONNX.items()},
        _write_openvino,
        _run_by_openvino,
    ),
    "torch": Format(".pt2", {"torch": ()}, _written("torch"), _run_by_engine("torch")),
    "saved_model": Format("", {"tensorflow": ()}, _written("tf_saved_model"), _run_by_engine("saved_model")),
    "litert": Format(".tflite", {"tensorflow": ()}, _written("litert"), _run_by_engine("litert")),
}


def check_name(path: str | Path, format: str) -> Path:
    """`path`. Raises ValueError if it does not end as the format does, or stands for something else."""
    path, suffix = Path(path), FORMATS[format].suffix
    if path.suffix != suffix:
        ends = f"a name that ends in {suffix}" if suffix else "a folder, whose name has no ending"
        raise ValueError(f"export expects, for {format!r}, {ends}, received {path}.")
    other = path.is_dir() and not _is_saved_model(path)
    beside = path.with_suffix(".bin")
    if format == "openvino" and beside.exists() and not path.exists():
        raise ValueError(
            f"export would replace {beside}, in which OpenVINO keeps the weights of {path.name}, and which is of no "
            "earlier export: name another path."
        )
    if other or (path.is_file() and not suffix) or (path.is_dir() and suffix):
        raise ValueError(
            f"export would replace {path}, which is no {format} of an earlier export: name another path."
        )
    return path


def _is_saved_model(folder):
    """Return True if a folder holds the files of a SavedModel and nothing else."""
    ours = ("saved_model.pb", "fingerprint.pb", "variables/variables.*")
    files = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
    return all(any(fnmatch.fnmatchcase(file.as_posix(), name) for name in ours) for file in files)


def require(format: str) -> None:
    """Raise ValueError if the engine cannot write a format, ImportError if packages for it are missing."""
    name, packages = engine.name, FORMATS[format].packages
    if name not in packages:
        raise ValueError(
            f"{format!r} cannot be written on {name}, but on {' and '.join(packages)}: save a .keras file, "
            f"and load that with KERAS_BACKEND={next(iter(packages))}."
        )
    missing = [package for package in packages[name] if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(
            f"{format!r} on {name} needs packages that are missing: pip install {' '.join(missing)}"
        )
