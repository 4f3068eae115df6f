"""Training steps as CUDA graphs: PyTorch's alone."""

import keras


def check_capture(model):
    """Raise unless a training step of `model`, compiled as it is, can be recorded as a CUDA graph."""
    raise NotImplementedError(
        "cuda_graph=True records the training steps of PyTorch on a CUDA device, received a flow on "
        f"{keras.backend.backend()}. Leave cuda_graph out: on JAX and TensorFlow a step is one program anyway."
    )


def captured(step, model):
    """`step(data)`, Keras's training step of `model`, which is recorded once a few batches of a kind have come."""
    return step  # nothing is recorded here
