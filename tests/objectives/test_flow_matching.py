"""Flow matching: a continuous flow that learns to sample a density that is known."""

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit import Flow, bijectors
from flowkit.bijectors import Chain, Scale
from flowkit.conditioners import Field
from flowkit.distributions import Normal
from flowkit.engines import engine
from flowkit.objectives import FlowMatching
from flowkit.objectives.flow_matching import LAST, PATHS, optimal_pairs

MEANS, DEVIATION = np.array([[-1.5, 0.0], [1.5, 0.5]]), 0.5


def sample(n, seed):
    """Rows of the mixture of two Gaussians, equally likely."""
    rng = np.random.default_rng(seed)
    return (MEANS[rng.integers(0, 2, n)] + DEVIATION * rng.normal(size=(n, 2))).astype("float32")


def log_density(x):
    each = -0.5 * np.square((x[:, None] - MEANS) / DEVIATION).sum(-1)
    return np.logaddexp(*each.T) - np.log(2) - 2 * np.log(DEVIATION) - np.log(2 * np.pi)


@pytest.mark.long
def test_it_samples_a_known_density():
    """Both divergences between flow and density, from the two exact log-densities, are below 0.05 nats.

    KL(p || q) on new rows of p, which sees what the flow leaves out; KL(q || p) on draws of q, which sees what it adds.
    """
    steps = 800
    flow = Flow(bijectors.Continuous(Field([64, 64], activation="tanh"), steps=12))
    rate = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    flow.compile(keras.optimizers.Adam(rate), loss=FlowMatching())
    history = flow.fit(sample(steps * 256, seed=0), batch_size=256, verbose=0).history
    assert history.keys() == {"loss"}
    new = sample(4096, seed=1)
    missed = (log_density(new) - flow.log_prob(new)).mean()
    draws, log_q = (f64(part) for part in flow.draw(4096, seed=2))
    added = (log_q - log_density(draws)).mean()
    assert missed < 0.05
    assert added < 0.05
    assert abs((draws[:, 0] < 0).mean() - 0.5) < 0.05


def test_its_value_is_the_squared_error_of_the_velocity():
    """With a field of zeros it is |x - z|^2, whose mean is |x|^2 + 2 for a standard normal base."""
    flow = Flow(continuous())
    flow.build((None, 2))
    x = np.full((4096, 2), 2.0, "float32")
    loss = f64(FlowMatching()(flow, ops.convert_to_tensor(x), None))
    assert loss.shape == (4096,)
    deviation = np.sqrt(4 + 4 * 8)  # of |2 - z|^2 in two dimensions: 2 d + 4 |x|^2
    np.testing.assert_allclose(loss.mean(), 8 + 2, atol=4 * deviation / np.sqrt(4096))


def test_the_field_is_asked_on_the_line_from_latents_to_data():
    """A field that knows the data's one point, (3, -1): at x_t = (1 - t) z + t x, x - z is (x - x_t) / (1 - t)."""
    point = np.float32([3, -1])

    class Known(bijectors.Continuous):
        def velocity(self, x, t, context=None):
            return (ops.convert_to_tensor(point) - x) / (1 - t[:, None])

    flow = Flow(Known(Field([8]), steps=2))
    flow.build((None, 2))
    x = np.tile(point, (256, 1))
    loss = f64(FlowMatching()(flow, ops.convert_to_tensor(x), None))
    np.testing.assert_allclose(np.median(loss), 0, atol=1e-9)  # rounding is magnified by 1 / (1 - t)


def test_the_base_does_not_learn():
    flow = Flow(continuous(), base=Normal(learn=True))
    flow.build((None, 2))
    x = ops.convert_to_tensor(sample(64, seed=0))
    start = f64(flow.sampler.state).astype("uint32")

    def mean(values):
        given = [*zip(flow.trainable_variables, values, strict=True), (flow.sampler.state, start)]
        with keras.StatelessScope(state_mapping=given):
            return ops.mean(FlowMatching()(flow, x, None))

    _, found = engine.gradients(mean, [f64(w).astype("float32") for w in flow.trainable_variables])
    moved = {w.path for w, g in zip(flow.trainable_variables, found, strict=True) if np.abs(f64(g)).max() > 0}
    # The last layer starts at zero, and hides those before it.
    assert moved == {w.path for w in flow.bijector.trainable_variables[-2:]}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_goes_from_latents_to_data_and_knows_its_slope(name):
    with engine.float64():
        step = 1e-5
        t = ops.convert_to_tensor(np.linspace(0.05, 0.95, 7))
        a, b, da, db = map(f64, PATHS[name](t))
        ahead, behind = (PATHS[name](t + move) for move in (step, -step))
        np.testing.assert_allclose(da, (f64(ahead[0]) - f64(behind[0])) / (2 * step), rtol=1e-4)
        np.testing.assert_allclose(db, (f64(ahead[1]) - f64(behind[1])) / (2 * step), rtol=1e-4)
        if name != "linear":
            np.testing.assert_allclose(a**2 + b**2, 1, atol=1e-6)
        ends = [f64(part) for part in PATHS[name](ops.convert_to_tensor(np.array([0.0, LAST])))]
        np.testing.assert_allclose(ends[0], [0, 1], atol=0.01)
        np.testing.assert_allclose(ends[1], [1, 0], atol=0.01)


def test_optimal_pairs_are_close_and_take_every_latent():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 256, 2)).astype("float32")
    pairs = f64(optimal_pairs(*map(ops.convert_to_tensor, (x, z)), keras.random.SeedGenerator(0)))
    assert np.square(x - pairs).sum(1).mean() < 0.3 * np.square(x - z).sum(1).mean()
    np.testing.assert_allclose(pairs.mean(0), z.mean(0), atol=0.15)
    assert len(np.unique(pairs, axis=0)) > 128


def continuous(context="none", **options):
    return bijectors.Continuous(Field([8], context=context), steps=2, **options)


def test_layers_before_the_continuous_one_run_and_do_not_learn():
    flow = Flow(Chain([Scale(-3.0), continuous()]))
    flow.build((None, 2))
    x = ops.convert_to_tensor(np.full((4096, 2), 2.0, "float32"))
    loss = f64(FlowMatching(times="logit_normal")(flow, x, None))
    np.testing.assert_allclose(loss.mean(), 2 * (2 * np.exp(-3.0)) ** 2 + 2, atol=0.2)

    def mean(values):
        with keras.StatelessScope(list(zip(flow.trainable_variables, values, strict=True))):
            return ops.mean(FlowMatching()(flow, x, None))

    _, found = engine.gradients(mean, [f64(w).astype("float32") for w in flow.trainable_variables])
    moved = [w.path for w, g in zip(flow.trainable_variables, found, strict=True) if np.abs(f64(g)).max() > 0]
    assert moved
    assert all("continuous" in path for path in moved)


def test_the_same_part_of_a_batch_goes_without_context_on_all_backends():
    class Telling(bijectors.Continuous):
        def velocity(self, x, t, context=None):
            return 0 * super().velocity(x, t, context) + (0.0 if context is None else 1000.0)

    flow = Flow(Telling(Field([8], context="optional"), steps=2))
    flow.build({"x": (None, 2), "context": (None, 3)})
    flow.compile("sgd", loss=FlowMatching(drop_context=0.7))
    x, context = (np.ones((20, n), "float32") for n in (2, 3))
    loss = flow.fit(x, context=context, batch_size=20, verbose=0).history["loss"][0]
    assert loss / 2e6 == pytest.approx(0.3, abs=0.01)
