"""Files that only an engine can read. Any engine may be running: the one that is needed is imported here."""

import pickle

from flowkit._engine import installed


def read_tensorflow_checkpoint(path):
    """Names -> arrays of a TensorFlow checkpoint: its prefix, or the folder that holds the newest one.

    Raises ImportError where TensorFlow is not installed, ValueError for a path that holds no checkpoint.
    """
    _require("tensorflow", f"{path}: a TensorFlow checkpoint")
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(path))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{path}: expected a TensorFlow checkpoint ({_first_line(error)})") from None


def read_torch_state(path):
    """Names -> arrays of a state dict that torch has saved. Runs no code that the file may hold.

    Raises ImportError where torch is not installed, ValueError for a file that holds anything else.
    """
    _require("torch", f"{path}: a file of torch")
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path}: expected a state dict, as written by torch.save(model.state_dict(), path) "
            f"({_first_line(error)})"
        ) from None
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise ValueError(
            f"{path}: expected a state dict, names to tensors, received a {type(state).__name__}"
        )
    return {name: value.numpy() for name, value in state.items()}


def _require(engine, what):
    if not installed(engine):
        raise ImportError(f"{what} needs {engine}: install it with `pip install 'keras-flowkit[{engine}]'`")


def _first_line(error):
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
