"""Constants: on PyTorch made once for each type and device, on every engine fit for gradients and for compilers."""

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors.coupling import entries_kept
from flowkit.conditioners.scaled import edge_taps
from flowkit.engines import engine

on_torch = pytest.mark.skipif(
    engine.name != "torch", reason="other engines keep nothing: constants lie in what they compile"
)


def ramp(size):
    return np.arange(size, dtype="float64")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_has_the_values_of_the_function_and_the_type_of_the_other(dtype):
    like = ops.ones((2,), dtype)
    made = engine.constant(ramp, 3, like=like)
    assert made.dtype == like.dtype
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(made, "float32")), [0, 1, 2])


def test_what_one_trace_has_used_serves_the_next():
    """A tracer that was kept would break the second trace, and the call outside of any."""
    x = ops.ones((1, 3))
    doubled = [engine.inference_function(lambda x: x * engine.constant(ramp, 3, like=x), _No()) for _ in "ab"]
    answers = [ops.convert_to_numpy(run(x)) for run in doubled]
    answers.append(ops.convert_to_numpy(x * engine.constant(ramp, 3, like=x)))
    np.testing.assert_array_equal(answers, [[[0, 1, 2]]] * 3)


class _No:
    """A layer without weights."""

    variables = ()


@on_torch
def test_it_is_made_once_for_each_function_arguments_and_type():
    calls = []

    def counted(size):
        calls.append(size)
        return ramp(size)

    single, double = ops.ones((1,)), ops.ones((1,), "float64")
    first = engine.constant(counted, 4, like=single)
    assert engine.constant(counted, 4, like=single) is first
    assert engine.constant(counted, 4, like=double).dtype == double.dtype
    assert tuple(engine.constant(counted, 5, like=single).shape) == (5,)
    assert calls == [4, 4, 5]


@on_torch
@pytest.mark.parametrize("scope", ["inference mode", "a transform"])
def test_it_outlives_where_it_was_made(scope):
    import torch

    def shifted(size, scope):
        return ramp(size) + 1

    def loss(x):
        return (x * engine.constant(shifted, 3, scope, like=x)).sum()

    x = torch.ones(3)
    if scope == "inference mode":
        with torch.inference_mode():
            loss(x)
    else:
        torch.func.grad(loss)(x)
    x.requires_grad_()
    loss(x).backward()
    assert x.grad.tolist() == [1, 2, 3]


@on_torch
def test_a_compiler_takes_several_in_one_graph_and_never_compiles_anew():
    import torch

    def masked(x):
        image = x * engine.constant(entries_kept, "checkerboard", False, (4, 4, 1), like=x)
        image = image + engine.constant(entries_kept, "checkerboard", True, (4, 4, 1), like=x)
        return image * engine.constant(edge_taps, 4, 4, 3, like=x)[..., :1]

    torch.compiler.reset()
    x = torch.ones(2, 4, 4, 1, requires_grad=True)
    compiled = torch.compile(masked, fullgraph=True, backend="aot_eager")
    torch._dynamo.utils.counters.clear()
    torch.testing.assert_close(compiled(x), masked(x))
    # One more of those that it has read.
    engine.constant(entries_kept, "checkerboard", False, (2, 2, 1), like=x)
    compiled(x).sum().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
