"""Training steps as CUDA graphs: PyTorch's alone."""

import keras


def check_capture(model):
    """Raise unless a training step of `model`, compiled as it is, can be recorded as a CUDA graph."""
    raise NotImplementedError(
        f"cuda_graph=True records the training steps of PyTorch, received a flow on {keras.backend.backend()}, which "
        "runs a step as one program by itself. Leave cuda_graph out, or set KERAS_BACKEND=torch."
    )


def captured(step, model):
    """`step(data)`, Keras's training step of `model`, which is recorded once a few batches of a kind have come."""
    return step  # nothing is recorded here
