"""Write and read a function of tensors as a file that needs no flowkit.

By PyTorch itself: Keras traces one row, where values of each row look like values that all rows share.
"""

import contextlib
import functools
import warnings

import torch

from flowkit.engines.base import quiet


def ways_to_write(format):
    """See `Engine.ways_to_write`."""
    return 1 if format == "torch" else 2


def write_graph(model, path, format, inputs, way=0):
    """See `Engine.write_graph`."""
    module, given = _OfSeveral(model), tuple(torch.as_tensor(array) for array in inputs.values())
    # It would warn of a missing torchvision, which it does not need.
    with torch.no_grad(), _derivatives_left(), quiet("torch.onnx"), warnings.catch_warnings():
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
    """Enter a scope after which PyTorch is inside no derivative: an exporter that fails in one stays there."""
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
    """Register operations that the quick exporter lacks, and silence its log: its errors say what failed."""

    def ravel(graph, x):
        return graph.op("Reshape", x, graph.op("Constant", value_t=torch.tensor([-1])))

    def numpy_T(graph, x):  # noqa: N802 - its name there
        return graph.op("Transpose", x, perm_i=list(reversed(range(x.type().dim()))))

    torch._C._jit_set_onnx_log_enabled(False)
    for operation in (ravel, numpy_T):
        torch.onnx.register_custom_op_symbolic(f"aten::{operation.__name__}", operation, 13)


class _OfSeveral(torch.nn.Module):
    """(tensor, ...) -> the output of a model for one tensor, or for a list of several."""

    def __init__(self, model):
        super().__init__()
        self.model = model  # so that its weights are found

    def forward(self, *given):
        return self.model.call(given[0] if len(given) == 1 else list(given))  # Keras would fix the batch


def read_graph(path, format):
    """See `Engine.read_graph`."""
    module = torch.export.load(path).module()

    def run(inputs):
        with torch.no_grad():
            answer = module(*(torch.as_tensor(array) for array in inputs.values()))
        several = isinstance(answer, tuple | list)
        return [tensor.numpy(force=True) for tensor in (answer if several else [answer])]

    return run
