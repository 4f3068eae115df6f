"""Training steps as CUDA graphs: PyTorch's alone."""

import keras


def check_capture(model):
    """Raise NotImplementedError."""
    raise NotImplementedError(
        f"cuda_graph=True records the training steps of PyTorch, received a flow on {keras.backend.backend()}, which "
        "runs a step as one program by itself. Leave cuda_graph out, or set KERAS_BACKEND=torch."
    )


def captured(step, model):
    """`step`: nothing is recorded here."""
    return step
