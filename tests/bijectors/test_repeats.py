"""Steps that are alike run as one, on JAX's accelerators, and give what they give one by one."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import backends
from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, Permute, Shift, Squeeze
from flowkit.bijectors.repeats import repeats
from flowkit.conditioners import MLP, ConvNet
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines

SHAPE = (4, 4, 2)


def steps(count, **context):
    for _ in range(count):
        yield from (
            ActNorm(),
            Conv1x1(),
            Permute("shuffle"),
            Coupling(ConvNet(4, **context), transform=Affine("tanh")),
        )


def built(chain, perturb, context_shape=None):
    chain.build((None, *SHAPE)) if context_shape is None else chain.build((None, *SHAPE), context_shape)
    return perturb(chain)


def sizes(chain):
    return [[len(block) for block in run] for run in repeats(chain.parts)]


def test_steps_of_a_glow_are_alike(perturb):
    chain = built(Chain([Squeeze(), *steps(3), Shift(1.0), Squeeze()]), perturb)
    assert sizes(chain) == [[1], [4, 4, 4], [1], [1]]


@pytest.mark.one_engine
@pytest.mark.parametrize(
    "parts",
    [
        [Shift(1.0), Shift(2.0)],
        [Coupling(MLP([4])), Coupling(MLP([5]))],
        [Coupling(MLP([4])), Coupling(MLP([4]), swap=True)],
        [Coupling(MLP([4], activation="relu")), Coupling(MLP([4], activation="tanh"))],
    ],
)
def test_parts_of_other_arguments_are_not_alike(parts, perturb):
    assert sizes(built(Chain(parts), perturb)) == [[1], [1]]


def times(factor):
    def activation(h):
        return ops.relu(factor * h)

    return activation


class Foreign(keras.layers.Layer):
    """A conditioner of somebody else's, without a config."""

    def __init__(self, features, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(features)

    def build(self, x_shape):
        self.dense.build(x_shape)

    def call(self, x):
        return self.dense(x)

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.dense.units)


@pytest.mark.one_engine
@pytest.mark.parametrize(
    "make",
    [
        lambda i: Coupling(MLP([4], activation=times(i))),
        lambda i: Coupling(Foreign(2)),
        lambda i: Coupling(keras.layers.Dense(2, activity_regularizer="l2")),
    ],
    ids=["functions of one name", "no config", "adds to the loss"],
)
def test_what_may_do_something_else_is_alike_to_nothing(make, perturb):
    assert sizes(built(Chain([make(1), make(2)]), perturb)) == [[1], [1]]


def answers(chain, x, context, inverse):
    """(output, log_det, gradients of x and of the weights) of one direction."""
    weights = [v.value for v in chain.trainable_variables]

    def score(tensors):
        start, *values = tensors
        with keras.StatelessScope(list(zip(chain.trainable_variables, values, strict=True))):
            y, log_det = chain.run(start, context, inverse)
        return ops.sum(ops.sin(y)) + ops.sum(ops.sin(log_det))

    y, log_det = chain.run(x, context, inverse)
    gradients = backends.gradients(score, [x, *weights])[1] if backends.SUPPORTS_TRAINING else []
    return [ops.convert_to_numpy(a) for a in (y, log_det, *gradients)]


@pytest.mark.wide("precision")
@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
@pytest.mark.parametrize("context", ["none", "required"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_scanned_blocks_give_what_they_give_one_by_one(
    monkeypatch, perturb, policy, precision, inverse, context
):
    policy(precision)
    tolerance = 1e-4 if precision == "float32" else 2**-5  # networks of three layers, 8 bits each
    given = ops.convert_to_tensor(np.arange(3)) if context == "required" else None
    options = {"context": "required", "num_classes": 3} if context == "required" else {}
    chain = built(Chain([Shift(0.5), *steps(3, **options)]), perturb, (None,) if options else None)
    x = ops.convert_to_tensor(np.random.default_rng(1).normal(size=(3, *SHAPE)).astype("float32"))
    plain = answers(chain, x, given, inverse)
    monkeypatch.setattr(backends, "scans", lambda: True)
    for one, other in zip(plain, answers(chain, x, given, inverse), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(one).max())


@pytest.mark.skipif(backends.name() != "jax", reason="the other engines run one block after another")
def test_depth_adds_nothing_to_compile(monkeypatch, perturb):
    import jax

    def size(count):
        chain = built(Chain(steps(count)), perturb)
        return len(str(jax.make_jaxpr(lambda x: chain.run(x, None, False))(np.zeros((2, *SHAPE), "float32"))))

    unrolled = size(4) / size(2)
    monkeypatch.setattr(backends, "scans", lambda: True)
    assert unrolled > 1.7
    assert size(4) / size(2) < 1.4  # each weight is still put on its stack
