"""Gradients that save memory: the same values and the same gradients as those of stored activations."""

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.bijectors import (
    ActNorm,
    Chain,
    Conv1x1,
    Coupling,
    Inverse,
    Permute,
    Repeat,
    Reshape,
    Scale,
    Shift,
    Squeeze,
    Tanh,
)
from flowkit.conditioners import MLP, ConvNet
from flowkit.engines import engine
from flowkit.transforms import Affine

MODES = ["recompute", "reversible"]
PROMISED = 1e-4  # of gradients in float32, relative


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def steps(count, context="none"):
    return [
        part for _ in range(count) for part in (ActNorm(), Conv1x1(), Coupling(MLP([8], context=context)))
    ]


def learn(layer, data, inverse=False):
    """A scalar that depends on all outputs, and its gradients: by `data` (x, or x and context) and all weights."""
    learned, fixed = layer.trainable_variables, layer.non_trainable_variables
    direction = ops.convert_to_tensor(draw(data[0].size, seed=5))

    def loss(tensors):
        given, values = tensors[: len(data)], [*tensors[len(data) :], *map(ops.convert_to_tensor, fixed)]
        with keras.StatelessScope(list(zip([*learned, *fixed], values, strict=True))):
            y, log_det = layer(*given, inverse=inverse)
        return ops.sum(ops.reshape(y, (-1,)) * direction) + ops.sum(ops.sin(log_det))

    run = engine.compile_gradients(loss)
    value, grads = run([ops.convert_to_tensor(t) for t in (*data, *learned)])
    return float(value), [f64(g) for g in grads]


def check_modes(layer, chains, *data, inverse=False, tolerance=PROMISED):
    """`learn` answers the same whatever its chains keep."""
    found = {}
    for mode in ("stored", *MODES):
        for chain in chains:
            chain.backprop = mode
        found[mode] = learn(layer, data, inverse)
    for mode in MODES:
        assert_same(found["stored"], found[mode], tolerance)


def assert_same(stored, saving, tolerance):
    (value, expected), (other, received) = stored, saving
    assert other == pytest.approx(value, rel=tolerance)
    whole = np.sqrt(sum(np.sum(g**2) for g in expected))
    assert whole > 0
    for one, two in zip(expected, received, strict=True):
        # A gradient that is zero by cancellation has the rounding errors of the others.
        assert np.linalg.norm(two - one) <= tolerance * max(np.linalg.norm(one), whole * PROMISED)


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
@pytest.mark.one_engine
def test_through_16_steps_with_context(inverse, perturb, recwarn):
    x, context = draw(64, 6), draw(64, 3, seed=1)
    chain = Chain(steps(16, context="required"))
    chain.adapt(x, context=context)
    perturb(chain, scale=0.05)
    check_modes(chain, [chain], x[:8], context[:8], inverse=inverse)
    assert [w for w in recwarn if "rebuilt" in str(w.message)] == []


@pytest.mark.skipif(engine.name != "jax", reason="the other engines run one block after another")
@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_blocks_in_one_loop(inverse, perturb, monkeypatch):
    """As in a program: one step is compiled for all that are alike, in both passes, and one for others beside them."""
    import jax

    monkeypatch.setattr(engine, "scans", lambda layers: True)
    x, context = draw(64, 6), draw(64, 3, seed=1)
    repeat = Repeat(Chain(steps(1, context="required")), 4)
    chain = Chain([Scale(0.5), repeat, Permute("reverse"), Shift(1.0), Shift(2.0)])
    chain.adapt(x, context=context)
    perturb(chain, scale=0.05)
    check_modes(chain, [chain], x[:8], context[:8], inverse=inverse)
    for mode in MODES:
        chain.backprop = mode
        loops = str(
            jax.make_jaxpr(jax.grad(lambda x: chain(x, context[:8], inverse=inverse)[1].sum()))(x[:8])
        )
        assert loops.count(" scan[") == 2  # one for each pass


def test_through_all_kinds_of_parts(perturb):
    chain = Chain(
        [
            Squeeze(),
            Coupling(ConvNet(4), split="checkerboard", transform=Affine("tanh")),
            Chain([ActNorm(), Conv1x1(lu=False), Chain([Coupling(ConvNet(4), swap=True)])]),
            Inverse(Coupling(MLP([4]), Affine("tanh"))),
            Permute("shuffle"),
            Inverse(Chain([Coupling(MLP([4]), transform="additive")], backprop="reversible")),
            Scale(-2.0),
            Reshape((32,)),
            Tanh(),
        ]
    )
    x = draw(32, 4, 4, 2)
    chain.adapt(x)
    perturb(chain, scale=0.05)
    check_modes(chain, [chain], x[:3])


@pytest.mark.parametrize("mode", MODES)
def test_integer_labels_have_no_gradient(mode, perturb):
    chain = Chain([ActNorm(), Coupling(MLP([4], context="required", num_classes=3))], backprop=mode)
    x, labels = draw(4, 2), np.array([0, 1, 2, 1])
    chain.adapt(x, context=labels)
    perturb(chain)

    def loss(tensors):
        return ops.sum(chain(tensors[0], context=ops.convert_to_tensor(labels))[0] ** 2)

    _, found = engine.gradients(loss, [x])
    chain.backprop = "stored"
    _, expected = engine.gradients(loss, [x])
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (found[0], expected[0])), rtol=PROMISED)


def _hear():
    """Wait for what JAX has to tell the host."""
    if engine.name == "jax":
        import jax

        jax.effects_barrier()


def test_drift_is_warned_of_once_and_says_what_to_do():
    chain = Chain([Shift(1e4), Shift(-1e4)], backprop="reversible", name="lossy")  # what is small is lost
    x = draw(8, 3)

    def loss(tensors):
        return ops.sum(chain(tensors[0])[0] ** 2)

    def learn_thrice():
        for _ in range(3):
            _, grads = engine.gradients(loss, [x])
            ops.convert_to_numpy(grads[0])
            _hear()

    with pytest.warns(UserWarning, match=r"Chain 'lossy'.*relative error.*backprop='recompute'") as caught:
        learn_thrice()
    assert len([w for w in caught if "lossy" in str(w.message)]) == 1


def test_nothing_but_zeros_has_not_drifted(recwarn):
    chain = Chain([Shift(0.0), Scale(0.5)], backprop="reversible")
    _, grads = engine.gradients(lambda t: ops.sum(chain(t[0])[0]), [ops.zeros((4, 3))])
    ops.convert_to_numpy(grads[0])
    _hear()
    assert [w for w in recwarn if "rebuilt" in str(w.message)] == []
