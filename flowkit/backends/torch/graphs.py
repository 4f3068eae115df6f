"""What records kernels and launches them together, by the type of the device."""

import contextlib

import keras
import torch


class CudaGraph:
    """`torch.cuda.CUDAGraph`, as a step is recorded with it."""

    def __init__(self):
        self._graph, self._stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()

    @contextlib.contextmanager
    def beside(self):
        """A scope in a stream of its own, as torch asks for before a recording."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def recording(self):
        """A scope whose kernels are recorded and not run. Other threads, such as Keras's for logs, may go on."""
        return torch.cuda.graph(self._graph, capture_error_mode="thread_local")

    def replay(self):
        self._graph.replay()


_GRAPHS = {"cuda": CudaGraph}  # by the type of the device


def device():
    """The device that Keras puts tensors on."""
    return keras.ops.convert_to_tensor(0.0).device


def graph_class():
    """What records on that device; None if nothing does."""
    return _GRAPHS.get(device().type)
