"""`jit_compile=True` on PyTorch compiles each kind of part once, so that depth costs no more compiling."""

import functools

import keras
import numpy as np
import pytest

from flowkit import Flow, zoo
from flowkit.bijectors import Chain, Coupling
from flowkit.conditioners import MLP
from flowkit.engines import engine

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype("uint8")

pytestmark = pytest.mark.skipif(
    engine.name != "torch",
    reason="a whole step is compiled: tests/flows/test_training.py holds it to the eager one",
)


def trained(flow, data=IMAGES, **options):
    """(loss, weights before, weights after) of two steps of training."""
    flow.compile(optimizer=keras.optimizers.SGD(1e-3), **options)
    before = values(flow)
    loss = flow.fit(data, batch_size=4, verbose=0, shuffle=False).history["loss"]
    return loss, before, values(flow)


def values(flow):
    return [keras.ops.convert_to_numpy(w) for w in flow.trainable_weights]


def glow(levels, steps):
    keras.utils.set_random_seed(0)
    return zoo.glow(levels=levels, steps=steps, width=4)


@pytest.fixture
def counted(monkeypatch):
    """Train with `jit_compile=True`, without the compiler's last stage, and count (graphs, breaks)."""
    import torch

    from flowkit.engines.torch import _compiled_run

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))

    def count(flow, data=IMAGES):
        torch.compiler.reset()
        _compiled_run.cache_clear()
        counters = torch._dynamo.utils.counters
        counters.clear()
        trained(flow, data, jit_compile=True)
        return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())

    yield count
    _compiled_run.cache_clear()


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.long
def test_depth_adds_no_graphs_and_nothing_breaks_one(counted, policy, precision):
    policy(precision)
    shallow, deep = counted(glow(2, 2)), counted(glow(2, 4))
    assert shallow == deep
    graphs, breaks = deep
    assert breaks == 0
    # For each of two shapes a mixing with its actnorm, and a coupling: all copies of a Repeat are one part.
    assert 4 <= graphs <= 9


def couplings(count):
    return [Coupling(MLP([4]), swap=bool(i % 2)) for i in range(count)]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.long
def test_couplings_of_vectors_are_shared_as_well(counted, nested):
    vectors = IMAGES.reshape(-1, 6)[:8] / 255
    few, many = (
        counted(Flow(Chain([Chain(couplings(count))] if nested else couplings(count))), vectors)
        for count in (4, 8)
    )
    assert few == many
    assert many[1] == 0
    assert many[0] <= 4  # two kinds, and the first one as well without a gradient


def test_it_trains_as_the_eager_one(perturb):
    def moved(**options):
        flow = glow(1, 2)
        flow.adapt(IMAGES)
        return trained(perturb(flow, 0.05), **options)

    (loss, before, compiled), (eager_loss, _, eager) = moved(jit_compile=True), moved()
    np.testing.assert_allclose(loss, eager_loss, rtol=1e-5)
    for start, one, other in zip(before, compiled, eager, strict=True):
        way = np.abs(other - start).max()
        assert way > 0
        # Gradients agree to 1e-3 of their size, up to the rounding of what they are added to.
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * way + 2**-22 * np.abs(start).max())


@pytest.mark.long
def test_a_lone_bijector_is_compiled_with_its_step(counted):
    flow = Flow(Coupling(MLP([4])))
    graphs, _ = counted(flow, IMAGES.reshape(-1, 6)[:8] / 255)
    assert flow._is_one_part()
    assert graphs >= 1
    assert not glow(1, 1)._is_one_part()


def test_what_runs_eagerly_all_the_same_is_said():
    flow = zoo.glow(levels=1, steps=1, width=4, backprop="reversible")
    with pytest.warns(UserWarning, match="runs eagerly all the same"):
        trained(flow, jit_compile=True)
