"""A function of tensors as a file that needs no flowkit: as Keras writes it, and read back."""

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
    model.export(path, format=format, input_signature=[specs] if len(specs) > 1 else specs, verbose=False)


def read_graph(path: str, format: str) -> Any:
    """A function (name -> array) -> list of arrays that runs a file of a format of the engine's own."""
    raise NotImplementedError(f"this engine reads no {format}")
