"""A function of tensors as a file that needs no flowkit: as Keras writes it, and read back."""

import contextlib
import logging
from typing import Any


def ways(format: str) -> int:
    """How many ways there are to write a format: the quickest first."""
    return 1


def write_graph(model: Any, path: str, format: str, inputs: dict[str, Any], way: int = 0) -> None:
    """Write what `model`, a `keras.Model`, answers to `inputs`: name -> an array of a few rows, for any number of rows.

    Of several inputs the model is given a list.
    """
    import keras

    specs = [
        keras.InputSpec(shape=(None, *array.shape[1:]), dtype=array.dtype.name, name=name)
        for name, array in inputs.items()
    ]
    # It has a line for each scalar that JAX leaves untyped; the file is compared with the flow anyway.
    with _quiet("onnx_ir"):
        model.export(path, format=format, input_signature=[specs] if len(specs) > 1 else specs, verbose=False)


@contextlib.contextmanager
def _quiet(name):
    """A scope in which a package's log has errors alone."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def read_graph(path: str, format: str) -> Any:
    """A function (name -> array) -> list of arrays that runs a file of a format of the engine's own."""
    raise NotImplementedError(f"this engine reads no {format}")
