"""Latents: one generator for each block, and the same rows whatever the batch size."""

import keras
import numpy as np
import pytest
from keras import ops
from tolerance import PARITY

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Permute, Shift
from flowkit.conditioners import MLP
from flowkit.distributions import Normal
from flowkit.engines import engine
from flowkit.flow import sampling
from flowkit.flow.rows import run_without_gradients
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines


class TwoColumns(Normal):
    """Draws one column after the other."""

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        columns = [keras.random.normal((shape[0], 1), seed=seed) for _ in range(shape[1])]
        return temperature * ops.concatenate(columns, axis=1)


class Mixture(Normal):
    """Half of the draws from N(0, 1), half from N(10, 1): the component is drawn first."""

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        second = keras.random.uniform((shape[0], 1), seed=seed) < 0.5
        return keras.random.normal(shape, seed=seed) + ops.where(second, 10.0, 0.0)


class Watched(Normal):
    """Is conditional, and remembers how many rows it was asked for at a time."""

    context = "required"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.asked = set()

    def log_prob(self, z, context=None):
        return super().log_prob(z - context)

    def sample(self, shape, *, context=None, **options):
        self.asked.add(shape[0])
        assert len(context) == shape[0]
        return super().sample(shape, **options) + ops.convert_to_tensor(context)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("flowkit.flow.flow.default_batch_size", lambda size: 7)


def flow_of(base, width=2, **options):
    flow = Flow(Shift(0.0), base)
    flow.build((None, width), **options)
    return flow


def test_a_base_that_draws_twice_draws_something_else():
    x = flow_of(TwoColumns()).sample(20_000, seed=3)
    assert abs(np.corrcoef(x.T)[0, 1]) < 5 / np.sqrt(20_000)


def test_a_mixture_has_the_mean_of_a_mixture():
    x = flow_of(Mixture()).sample(20_000, seed=0)
    # A component each: the mean of both columns is 5, and within a component the mean is its own.
    assert abs(x.mean() - 5) < 5 * np.sqrt(26 / 20_000)
    assert abs(x[x[:, 0] > 5].mean() - 10) < 5 / np.sqrt(10_000)


def test_neighbouring_seeds_have_nothing_in_common(small_blocks):
    """An engine may add the number of the draw to the seed."""
    flow = flow_of(TwoColumns())
    values = np.concatenate([flow.sample(70, seed=seed).ravel() for seed in (3, 4, 5)])
    assert len(np.unique(values)) > 0.99 * len(values)


@pytest.mark.parametrize("base", [Normal, TwoColumns, Mixture])
def test_the_same_seed_gives_the_same_rows_however_many_at_a_time(small_blocks, base):
    flow = flow_of(base())
    expected = flow.sample(40, seed=5, temperature=0.5)
    for size in (1, 3, 7, 16, 100):
        np.testing.assert_array_equal(flow.sample(40, seed=5, temperature=0.5, batch_size=size), expected)
    assert (flow.sample(40, seed=6, temperature=0.5) != expected).all()
    sampler = keras.random.SeedGenerator(5)
    one, other = (flow.sample(40, seed=sampler) for _ in range(2))
    assert (one != other).all()


def test_a_conditional_flow_and_base_too(small_blocks):
    base = Watched()
    net = MLP([8], context="required")
    flow = Flow(Chain([Coupling(net, Affine(min_scale=0.1)), Permute("reverse")]), base)
    context = np.arange(10, dtype="float32").reshape(5, 2)
    flow.build({"x": (None, 2), "context": (None, 2)})
    expected = flow.sample(9, context, seed=1)
    assert base.asked == {7, 4 if engine.compiles_inference else 45 % 7}  # never all at once
    for size in (1, 4, 64):
        # The networks' matrix products round by the number of rows.
        np.testing.assert_allclose(
            flow.sample(9, context, seed=1, batch_size=size), expected, rtol=PARITY, atol=10 * PARITY
        )
    x, log_prob = flow.sample_and_log_prob(9, context, seed=1, batch_size=4)
    np.testing.assert_allclose(x, expected, rtol=PARITY, atol=10 * PARITY)
    assert log_prob.shape == (9, 5)


def test_a_part_of_the_rows_is_drawn_block_by_block(small_blocks):
    base = Watched()
    flow = flow_of(base, 2)
    context = np.arange(6.0, dtype="float32").reshape(3, 2)
    whole = np.concatenate([z for _, z, _ in sampling.blocks(flow, 40, context, 1.0, [0], 0, 40)])
    base.asked.clear()
    starts, parts, contexts = zip(*sampling.blocks(flow, 40, context, 1.0, [0], 5, 26), strict=True)
    assert starts == (5, 7, 14, 21)
    assert base.asked == {7}
    np.testing.assert_array_equal(np.concatenate(parts), whole[5:26])
    np.testing.assert_array_equal(np.concatenate(contexts), context[np.arange(5, 26) % 3])


def test_a_closure_is_compiled_for_what_it_closes_over():
    """Two functions of one name are two functions."""
    flow = flow_of(Normal())

    def times(factor):
        def compute(x):
            return x * factor

        return compute

    x = np.ones((2, 2), "float32")
    for k in (1.0, 2.0):
        assert float(ops.convert_to_numpy(run_without_gradients(flow, times(k), x)).max()) == k


def test_a_method_is_compiled_once(monkeypatch):
    compiled, own = [], engine.inference_function
    monkeypatch.setattr(
        engine, "inference_function", lambda *given, **how: compiled.append(given[0]) or own(*given, **how)
    )
    flow = flow_of(Normal())
    x = np.ones((2, 2), "float32")
    for _ in range(3):
        flow.log_prob(x)
        flow.encode(x, check=None)
    assert len(compiled) == 2


def test_sizes_that_vary_share_their_programs(vector_flow, context_flow, context):
    """An engine that compiles for each size would keep a program for each: memory would grow with each call."""
    if not engine.compiles_inference:
        pytest.skip("this engine compiles nothing")
    jax = pytest.importorskip("jax")
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    for draw in (
        lambda n: vector_flow.sample(n, seed=n, check=None),
        lambda n: context_flow.sample(n, context[:3], seed=n, check=None),
        lambda n: vector_flow.sample_and_log_prob(n, seed=n, check=None),
    ):
        draw(128)
        compiled.clear()
        for n in range(113, 128):
            assert len(draw(n)[0] if isinstance(draw(n), tuple) else draw(n)) == n
        assert not compiled
