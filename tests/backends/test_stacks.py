"""On PyTorch weights of alike parts live in one tensor: the same numbers, gradients, and changes by any road."""

import threading
import time

import keras
import numpy as np
import pytest
from flowkit.bijectors.derivation import Derivations

from flowkit import backends
from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling
from flowkit.conditioners import ConvNet

if backends.name() != "torch":
    pytest.skip("other engines compile whole steps", allow_module_level=True)

import torch

from flowkit.backends.torch import stacks
from flowkit.backends.torch.stacks import Column, stacked
from flowkit.backends.torch.values import values

pytestmark = pytest.mark.one_engine
X = np.random.default_rng(0).normal(size=(3, 4, 4, 4))


def variables(count=3):
    return [keras.Variable(np.full((2, 2), i + 1.0, "float32")) for i in range(count)]


def chain(perturb):
    with backends.float64():
        made = Chain([p for i in range(3) for p in (ActNorm(), Conv1x1(seed=i), Coupling(ConvNet(8)))])
        made.build((None, *X.shape[1:]))
    return perturb(made)


def gradients(made, run):
    """Of x and of all weights, for a number that all of both outputs enter."""
    x = torch.tensor(X, requires_grad=True)
    z, log_det = run(x)
    loss = (
        z * torch.cos(torch.arange(z.numel(), dtype=z.dtype)).view(z.shape)
    ).sum() + log_det.square().sum()
    leaves = [x, *(w.value for w in made.trainable_weights)]
    return [
        g if g is not None else torch.zeros(()) for g in torch.autograd.grad(loss, leaves, allow_unused=True)
    ]


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_are_those_of_parts_that_derive_for_themselves(perturb, inverse):
    made = chain(perturb)

    def apart(x):
        total = 0.0
        for part in reversed(made.parts) if inverse else made.parts:
            x, log_det = part.run(x, None, inverse)
            total = total + log_det
        return x, total

    together = gradients(made, lambda x: made.run(x, None, inverse))
    alone = gradients(made, apart)
    assert sum(bool(g.abs().max() > 0) for g in together) > 30
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10 * float(other.abs().max()) + 1e-12)


def test_tensors_are_those_that_keras_gives():
    given = variables()
    assert all(one is v.value for one, v in zip(values(given), given, strict=True))
    others = [torch.zeros(2, 2) for _ in given]
    with keras.StatelessScope(list(zip(given, others, strict=True))):
        assert all(one is other for one, other in zip(values(given), others, strict=True))
        (stack,) = stacked([Column(given)])
    assert float(stack.abs().max()) == 0
    with keras.src.backend.common.variables.AutocastScope("float16"):
        assert values(given)[0].dtype == torch.float16
    with keras.device("meta"):  # where Keras finds shapes out
        assert all(one.is_meta for one in values(given))


def test_variables_keep_their_values_and_changes_are_seen():
    given = variables()
    column = Column(given)
    before = [keras.ops.convert_to_numpy(v).copy() for v in given]
    (stack,) = stacked([column])
    for v, value, row in zip(given, before, stack, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(v), value)
        assert row.data_ptr() == v.value.data_ptr()
    given[1].assign(np.full((2, 2), 7.0))
    given[2].value.data = torch.full((2, 2), 9.0)  # moved away
    given[0].value.data = given[0].value.data.t()
    (stack,) = stacked([column])
    assert stack[:, 0, 0].tolist() == [1, 7, 9]
    for i in range(5):  # from a few times on they are copied
        given[2].value.data = torch.full((2, 2), float(i))
        assert stacked([column])[0][2, 0, 0].item() == i


def test_variables_in_several_places_are_copied():
    one, other = variables(2)
    (stack,) = stacked([Column([one, other, one])])
    one.assign(np.full((2, 2), 5.0))
    (stack,) = stacked([Column([one, other, one])])
    assert stack[:, 0, 0].tolist() == [5, 2, 5]
    stack.sum().backward()
    assert one.value.grad.tolist() == [[2, 2], [2, 2]]


def test_a_weight_that_is_changed_before_the_backward_pass_is_told():
    given = variables()
    loss = stacked([Column(given)])[0].square().sum()
    given[0].assign(np.zeros((2, 2)))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_gradients_of_a_sum_are_added_up_each_by_itself():
    one, other = variables(), variables()

    def loss():
        return sum(stacked([Column(one), Column(other)])).square().sum()

    for _ in range(2):
        loss().backward()
    assert [v.value.grad[0, 0].item() for v in (*one, *other)] == 2 * [8, 16, 24]


def test_threads_that_come_at_once_move_the_weights_once(monkeypatch):
    def slowly(tensors, moved=stacks._moved):
        time.sleep(0.05)
        return moved(tensors)

    monkeypatch.setattr(stacks, "_moved", slowly)
    column = Column(variables())
    threads = [threading.Thread(target=stacked, args=([column],)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert column._moves == 1


def test_what_autocast_rounds_is_exact_outside_of_it(perturb):
    made = Chain([part for i in range(3) for part in (ActNorm(), Conv1x1(seed=i))])
    made.build((None, *X.shape[1:]))
    perturb(made)
    x = torch.tensor(X, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        made.run(x, None, False)
    after = made.run(x, None, False)[0]
    made._derivations = Derivations()
    torch.testing.assert_close(after, made.run(x, None, False)[0])


@pytest.mark.parametrize("mapped", [False, True])
def test_convolutions_in_turn_are_keras_own(mapped):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(2, 5, 5, 3)), requires_grad=True)
    sizes = [(3, 3, 6), (1, 6, 6), (3, 6, 4)]
    kernels = [torch.tensor(rng.normal(size=(k, k, a, b)), requires_grad=True) for k, a, b in sizes]
    biases = [
        torch.tensor(rng.normal(size=(1, 5, 5, b) if mapped else b), requires_grad=True) for _, _, b in sizes
    ]
    scales = [torch.tensor(rng.normal(size=b), requires_grad=True) for _, _, b in sizes]
    layers = [(backends.scaled_kernel(k, s), b) for k, b, s in zip(kernels, biases, scales, strict=True)]
    y, h = backends.convolve_in_turn(x, layers), x
    for i, (k, b, s) in enumerate(zip(kernels, biases, scales, strict=True)):
        h = torch.nn.functional.conv2d(
            h.permute(0, 3, 1, 2), (k * s).permute(3, 2, 0, 1), padding=k.shape[0] // 2
        ).permute(0, 2, 3, 1)
        h = h + b if i == 2 else torch.relu(h + b)
    torch.testing.assert_close(y, h)
    leaves = [x, *kernels, *biases, *scales]
    found, known = (torch.autograd.grad(a.square().sum(), leaves) for a in (y, h))
    for one, other in zip(found, known, strict=True):
        torch.testing.assert_close(one, other)
