"""A function of tensors as a file that needs no flowkit: written and read by PyTorch itself.

Keras traces at a batch of one row, where what each row has of its own cannot be told from what all rows share.
"""

import contextlib
import functools
import warnings
from typing import Any

import torch


def ways(format: str) -> int:
    """How many ways there are to write a format: the quickest first."""
    return 1 if format == "torch" else 2


def write_graph(model: Any, path: str, format: str, inputs: dict[str, Any], way: int = 0) -> None:
    """Write what `model`, a `keras.Model`, answers to `inputs`: name -> an array of a few rows, for any number of rows.

    Of several inputs the model is given a list.
    """
    module, given = _OfSeveral(model), tuple(torch.as_tensor(array) for array in inputs.values())
    with torch.no_grad(), _derivatives_left(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that numbers are constants: the file is compared with the flow
        if format == "torch":
            torch.export.save(_program(module, given), path)
        elif way:  # slow, and right also of what is written in place
            torch.onnx.export(
                _program(module, given),
                f=path,
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=list(inputs),
            )
        else:
            _know_operations()
            torch.onnx.export(
                module,
                given,
                path,
                dynamo=False,  # which takes a fifteenth of the other's time
                input_names=list(inputs),
                dynamic_axes={name: {0: "batch"} for name in inputs},
            )


@contextlib.contextmanager
def _derivatives_left():
    """A scope after which PyTorch is inside no derivative: an exporter that fails in one does not leave it itself."""
    depth = torch._C._functorch.get_dynamic_layer_stack_depth()
    try:
        yield
    except BaseException:
        torch._C._functorch.pop_dynamic_layer_stack_and_undo_to_depth(depth)
        with contextlib.suppress(RuntimeError):  # which says that none was entered
            torch._C._exit_dual_level(level=torch.autograd.forward_ad._current_level + 1)
        raise


def _program(module, given):
    rows = tuple({0: torch.export.Dim.AUTO} for _ in given)
    return torch.export.export(module, given, dynamic_shapes=(rows,), strict=False)


@functools.cache
def _know_operations():
    """Tell the quick exporter of operations that it does not know, and to be quiet: a failure is told by its error."""

    def ravel(graph, x):
        return graph.op("Reshape", x, graph.op("Constant", value_t=torch.tensor([-1])))

    def numpy_T(graph, x):  # noqa: N802 - its name there
        return graph.op("Transpose", x, perm_i=list(reversed(range(x.type().dim()))))

    torch._C._jit_set_onnx_log_enabled(False)
    for operation in (ravel, numpy_T):
        torch.onnx.register_custom_op_symbolic(f"aten::{operation.__name__}", operation, 13)


class _OfSeveral(torch.nn.Module):
    """(tensor, ...) -> what a model answers to a tensor, or to a list of several."""

    def __init__(self, model):
        super().__init__()
        self.model = model  # so that its weights are found

    def forward(self, *given):
        return self.model.call(given[0] if len(given) == 1 else list(given))  # Keras would fix the batch


def read_graph(path: str, format: str) -> Any:
    """A function (name -> array) -> list of arrays that runs a file of a format of the engine's own."""
    module = torch.export.load(path).module()

    def run(inputs):
        with torch.no_grad():
            answer = module(*(torch.as_tensor(array) for array in inputs.values()))
        several = isinstance(answer, tuple | list)
        return [tensor.numpy(force=True) for tensor in (answer if several else [answer])]

    return run
