"""`jit_compile=True` on PyTorch compiles each kind of part once, so that depth costs no more compiling."""

import functools

import keras
import numpy as np
import pytest

from flowkit import Flow, backends, zoo
from flowkit.bijectors import Scale

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype("uint8")

pytestmark = pytest.mark.skipif(
    backends.name() != "torch",
    reason="a whole step is compiled: tests/test_flow.py holds it to the eager one",
)


def trained(levels, steps, **options):
    """(loss, weights) of two steps of training."""
    keras.utils.set_random_seed(0)
    flow = zoo.glow(levels=levels, steps=steps, width=4)
    flow.compile(optimizer=keras.optimizers.SGD(1e-4), **options)
    loss = flow.fit(IMAGES, batch_size=4, verbose=0, shuffle=False).history["loss"]
    return loss, [keras.ops.convert_to_numpy(w) for w in flow.trainable_weights]


@pytest.fixture
def counted(monkeypatch):
    """Train with `jit_compile=True`, without the compiler's last stage, and count (graphs, breaks)."""
    import torch

    from flowkit.backends import _torch

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))

    def count(levels, steps):
        torch.compiler.reset()
        _torch._compiled_run.cache_clear()
        counters = torch._dynamo.utils.counters
        counters.clear()
        trained(levels, steps, jit_compile=True)
        return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())

    yield count
    _torch._compiled_run.cache_clear()


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_depth_adds_no_graphs_and_nothing_breaks_one(counted, policy, precision):
    policy(precision)
    shallow, deep = counted(2, 2), counted(2, 4)
    assert shallow == deep
    graphs, breaks = deep
    assert breaks == 0
    # For each of two shapes: squeezing, an actnorm with its mixing, and a coupling; one of them without a gradient.
    assert 6 <= graphs <= 7


def test_it_trains_as_the_eager_one():
    (loss, weights), (eager_loss, eager_weights) = trained(1, 2, jit_compile=True), trained(1, 2)
    np.testing.assert_allclose(loss, eager_loss, rtol=1e-5)
    for one, other in zip(weights, eager_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_lone_bijector_is_compiled_with_its_step():
    for flow, whole in ((Flow(Scale(0.5)), True), (zoo.glow(levels=1, steps=1), False)):
        flow.compile("sgd", jit_compile=True)
        assert flow._should_torch_compile() is whole
