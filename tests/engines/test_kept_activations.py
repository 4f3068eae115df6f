"""What a chain keeps for its backward pass: counted by the engine itself."""

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import ActNorm, Chain, Continuous, Conv1x1, Coupling, Exp, Scale
from flowkit.conditioners import ConvNet, Field
from flowkit.engines import engine

SHAPE = (16, 8, 8, 4)


def chain(steps, backprop):
    parts = [part for _ in range(steps) for part in (ActNorm(), Conv1x1(), Coupling(ConvNet(32)))]
    layer = Chain(parts, backprop=backprop)
    layer.build(SHAPE)
    for weight in layer.weights:
        if weight.name.endswith("adapted"):
            weight.assign(True)
    return layer


def kept_by_torch(layer, shape=SHAPE):
    """Bytes of saved tensors that are not weights."""
    import torch

    own = {variable.value.untyped_storage().data_ptr() for variable in layer.variables}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no other gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(torch.ones(shape))
    return sum(size for size, _ in seen.values())


def kept_by_jax(layer, shape=SHAPE):
    """Bytes that the compiled gradient needs besides what it is given and what it answers."""
    import jax

    fixed = [variable.value for variable in layer.non_trainable_variables]

    def loss(learned, x):
        (z, log_det), _ = layer.stateless_call(learned, fixed, x)
        return (z**2).sum() - log_det.sum()

    learned = [variable.value for variable in layer.trainable_variables]
    compiled = jax.jit(jax.grad(loss)).lower(learned, np.ones(shape, "float32")).compile()
    return compiled.memory_analysis().temp_size_in_bytes


COUNTED = {"torch": kept_by_torch, "jax": kept_by_jax}


@pytest.mark.one_engine
@pytest.mark.skipif(engine.name not in COUNTED, reason="this engine does not say what it keeps")
def test_reversible_keeps_the_same_whatever_the_depth_and_recompute_little_more():
    kept = COUNTED[engine.name]
    shallow, deep = kept(chain(2, "reversible")), kept(chain(8, "reversible"))
    assert deep <= 1.1 * shallow
    inputs = 3 * 8 * 4 * np.prod(SHAPE)  # of 3 parts in 8 steps, 4 bytes each
    recomputed = kept(chain(8, "recompute"))
    assert recomputed <= deep + inputs
    assert kept(chain(8, "stored")) > 2 * recomputed


@pytest.mark.one_engine
@pytest.mark.skipif(engine.name not in COUNTED, reason="this engine does not say what it keeps")
def test_a_solve_keeps_no_more_than_its_states_whatever_the_number_of_steps():
    shape = (64, 4)

    def kept(steps, backprop):
        layer = Continuous(Field([128]), steps=steps, backprop=backprop)
        layer.build(shape)
        return COUNTED[engine.name](layer, shape)

    few, many = 10, 60
    states = (many - few) * 4 * 64 * (4 + 1)  # of x and an integral, 4 bytes each
    assert kept(many, "reversible") <= 1.1 * kept(few, "reversible") + (many - few) * 4 * 4
    recomputed = kept(many, "recompute")
    assert recomputed <= kept(few, "recompute") + 1.2 * states
    assert kept(many, "stored") > 10 * recomputed


def twice_on_torch(score, x):
    import torch

    x = torch.tensor(x, requires_grad=True)
    (grad,) = torch.autograd.grad(score(x), x, create_graph=True)
    (grad**2).sum().backward()


def twice_on_jax(score, x):
    import jax

    jax.grad(lambda x: (jax.grad(score)(x) ** 2).sum())(x)


def twice_on_tensorflow(score, x):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = score(x)
        grad = inner.gradient(value, x)
        norm = tf.reduce_sum(grad**2)
    outer.gradient(norm, x)


TWICE = {"torch": twice_on_torch, "jax": twice_on_jax, "tensorflow": twice_on_tensorflow}


@pytest.mark.skipif(engine.name not in TWICE, reason="this engine has no gradients")
@pytest.mark.parametrize("backprop", ["recompute", "reversible"])
def test_second_derivatives_are_refused_rather_than_wrong(backprop):
    layer = Chain([Scale(0.5), Exp()], backprop=backprop)
    layer.build((None, 3))
    with pytest.raises(NotImplementedError, match="second derivatives"):
        TWICE[engine.name](lambda x: ops.sum(layer(x)[0]), np.ones((2, 3), "float32"))
