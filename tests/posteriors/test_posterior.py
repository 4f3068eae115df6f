"""A simulator and a prior in, a posterior out: known answers, bounds, rounds, and what is refused."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

import flowkit
from flowkit.distributions import Normal
from flowkit.posteriors.prior import as_prior
from flowkit.posteriors.training import _Cooling

SMALL = {"layers": 2, "hidden": (16, 16), "verbose": 0}
NOISE = 0.5
BOX = [(0.0, 1.0), (-2.0, 2.0)]


def noisy(theta):
    """x = theta + 0.5 e, with noise that follows from theta."""
    rng = np.random.default_rng(int(1e6 * abs(float(theta.sum()))) % 2**31)
    return theta + NOISE * rng.normal(size=theta.shape)


@pytest.fixture(scope="module")
def linear():
    """A posterior that is known: N(x / (1 + s^2), s^2 / (1 + s^2)) for theta ~ N(0, 1) and noise of deviation s."""
    options = {"epochs": 10, "batch_size": 100, "learning_rate": 2e-2, **SMALL}
    return flowkit.posterior(
        noisy, Normal(), features=2, simulations=2000, observation=[1.0, -1.0], **options
    )


def test_a_normal_posterior_is_found(linear):
    variance = NOISE**2 / (1 + NOISE**2)
    theta = np.random.default_rng(1).normal(size=(1000, 2)).astype("float32")
    x = noisy(theta).astype("float32")
    away = theta - x / (1 + NOISE**2)
    exact = -0.5 * (away**2).sum(axis=1) / variance - np.log(2 * np.pi * variance)
    assert -0.03 < (exact - linear.log_prob(theta, x)).mean() < 0.1
    drawn = linear.sample(200, x[:200], seed=0)
    np.testing.assert_allclose(drawn.mean(axis=0), x[:200] / (1 + NOISE**2), atol=0.4)
    np.testing.assert_allclose(drawn.std(axis=0).mean(axis=0), variance**0.5, rtol=0.2)


def test_observations_come_alone_or_in_rows(linear):
    many = np.array([[1.0, -1.0], [0.0, 0.0], [2.0, 1.0]])
    assert linear.sample(4, many[0], seed=0).shape == (4, 2)
    assert linear.sample(4, many, seed=0).shape == (4, 3, 2)
    np.testing.assert_array_equal(linear.sample(4, seed=0), linear.sample(4, many[0], seed=0))
    theta = np.zeros((3, 2))
    np.testing.assert_allclose(
        linear.log_prob(theta, many), [linear.log_prob(theta[:1], row)[0] for row in many], rtol=1e-4
    )


def test_it_is_drawn_and_checked(linear):
    figure = linear.plot(true=[1.0, -1.0])
    assert [axes.get_ylabel() for axes in figure.axes] == ["parameter 0", "", "parameter 1", ""]
    found = linear.check(pairs=200, draws=19)
    assert {"calibration", "coverage", "tarp", "recovery"} <= found.findings.keys()
    assert not found.left_out
    assert found.findings["tarp"].passed
    assert min(found.numbers["recovery"]["correlation"]) > 0.8
    new = linear.prior.draw(50, np.random.default_rng(5))
    assert linear.check(new, noisy(new), draws=9).rows == 50


def test_later_rounds_simulate_where_the_posterior_is(linear):
    theta = linear.proposals(500, np.random.default_rng(0))
    assert theta.shape == (500, 2)
    drawn = linear.sample(2000, seed=1)
    # All within the region that has nearly all of the posterior; flat there, as the prior is.
    assert (linear.log_prob(drawn) > linear.log_prob(theta).min()).mean() > 0.998
    assert (theta.std(axis=0) > 1.2 * drawn.std(axis=0)).all()


def test_a_known_likelihood_refines_it(linear):
    """Means, deviations and the evidence N(x; 0, 1 + s^2) of the exact posterior, for a flow that is a little off."""
    x, calls = np.array([1.0, -1.0]), []

    def log_likelihood(theta, seen):
        calls.append(seen)
        return stats.norm(theta, NOISE).logpdf(seen).sum(axis=1)

    found = linear.refine(None, log_likelihood, draws=4000)
    np.testing.assert_array_equal(calls[0], x)
    assert found.trusted
    evidence = stats.norm(0, (1 + NOISE**2) ** 0.5).logpdf(x).sum()
    assert abs(found.log_normaliser - evidence) < 5 * found.standard_error < 0.2
    mean = found.weights @ found.samples
    np.testing.assert_allclose(mean, x / (1 + NOISE**2), atol=0.04)
    variance = found.weights @ (found.samples - mean) ** 2
    np.testing.assert_allclose(variance, NOISE**2 / (1 + NOISE**2), rtol=0.1)


def test_a_prior_of_scipy_follows_the_seed_alone():
    prior = as_prior([stats.gamma(2.0), stats.beta(2.0, 3.0)])
    before = np.random.get_state()[1].copy()
    first, second = (prior.draw(50, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("method", ["npe", "nle"])
def test_two_rounds(method, capsys):
    options = SMALL | {"simulations": 400, "epochs": 2, "verbose": 1}
    found = flowkit.posterior(noisy, BOX, method=method, rounds=2, observation=[0.5, 0.0], **options)
    assert found.theta.shape == (400, 2)
    assert found.rounds == 2
    lines = capsys.readouterr().out
    assert "round 2 of 2: 400 simulations, 2 epochs, log p(" in lines
    assert lines.count("  epoch 2: log p(") == 2
    with pytest.raises(
        ValueError, match=r"after 2 rounds, expected one of all data. Train one with rounds=1"
    ):
        found.check()
    with pytest.raises(ValueError, match="misspecified: got a posterior of one observation, after 2 rounds"):
        found.misspecified()


@pytest.mark.parametrize(("stop", "epochs"), [(99, 30), (7, 18), (25, 30)])
def test_the_rate_falls_to_0_at_the_end_or_after_the_score_stops(stop, epochs):
    model = SimpleNamespace(stop_training=False, optimizer=SimpleNamespace(learning_rate=2.0))
    cooling, rates = _Cooling(SimpleNamespace(best_weights=None), 2.0, 30, 10), []
    cooling.set_model(model)
    while not model.stop_training and len(rates) < 30:
        rates.append(model.optimizer.learning_rate)
        model.stop_training = len(rates) > stop
        cooling.on_epoch_end(len(rates) - 1)
    assert len(rates) == epochs
    assert set(rates[:-10]) == {2.0}
    assert (np.diff([2.0, *rates[-10:], 0.0]) < 0).all()
    assert rates[-1] < 0.02


def test_draws_and_densities_have_the_names_and_bounds_of_the_prior():
    names = {"rate": BOX[0], "size": BOX[1]}
    found = flowkit.posterior(noisy, names, simulations=300, epochs=1, observation=[0.5, 0.0], **SMALL)
    plain, named = (found.sample(5, seed=0, names=asked) for asked in (False, True))
    assert named.dtype.names == found.names == ("rate", "size")
    np.testing.assert_array_equal(named["size"], plain[:, 1])
    assert found.sample(5, np.ones((3, 2)), names=True).shape == (5, 3)
    swapped = pd.DataFrame({name: named[name] for name in ("size", "rate")})
    for rows in (named[["size", "rate"]], swapped, pl.DataFrame(dict(swapped)), dict(swapped)):
        np.testing.assert_array_equal(found.log_prob(rows), found.log_prob(plain))
    with pytest.warns(UserWarning, match="got 9 in entry 0, while simulations lie from .* was not learned"):
        drawn = found.sample(500, np.array([[0.0, -2.0], [9.0, 9.0]]), seed=0)
    low, high = np.array(BOX).T
    assert ((drawn > low) & (drawn < high)).all()
    scores = found.log_prob([[0.5, 0.0], [1.5, 0.0], [0.5, -2.5]], [0.0, 0.0])
    assert np.isfinite(scores).tolist() == [True, False, False]
    marked = found.plot(true={"size": 0.5, "rate": 0.25}).axes
    assert [axes.get_xlabel() for axes in marked[2:]] == ["rate", "size"]
    assert [axes.lines[-1].get_xdata()[0] for axes in (marked[0], marked[3])] == [0.25, 0.5]
    # Nodes that crowd at the bounds.
    t = (np.arange(100) + 0.5) / 100
    u, weight = t - np.sin(2 * np.pi * t) / (2 * np.pi), 1 - np.cos(2 * np.pi * t)
    grid = np.stack(np.meshgrid(u, 4 * u - 2), axis=-1).reshape(-1, 2)
    mass = 4 * (np.exp(found.log_prob(grid, [0.5, 0.0])) * np.outer(weight, weight).ravel()).mean()
    assert abs(mass - 1) < 0.01


def test_a_likelihood_makes_a_posterior():
    """Of one parameter in (-2, 2): N(x, s^2) within the bounds."""
    options = {"batch_size": 50, "learning_rate": 1e-2, "layers": 1, "hidden": (16,), "verbose": 0}
    found = flowkit.posterior(noisy, [(-2, 2)], method="nle", simulations=1500, epochs=12, **options)
    drawn = found.sample(1500, [1.8], seed=0)
    assert np.abs(drawn).max() < 2
    grid = np.linspace(-2, 2, 400)
    exact = np.exp(-0.5 * ((grid - 1.8) / NOISE) ** 2)
    mean = (grid * exact).sum() / exact.sum()
    assert abs(drawn.mean() - mean) < 0.15
    assert found.log_prob([[3.0]], [1.8])[0] == -np.inf
    assert found.check(pairs=12, draws=9).rows == 12
    with pytest.raises(ValueError, match="got a posterior of method='nle'"):
        found.refine([1.8], lambda theta, x: theta[:, 0])


@pytest.mark.parametrize(
    ("event", "embedding"),
    [
        ((6, 2), lambda: flowkit.conditioners.DeepSet(4, hidden=[8])),
        ((6, 2), lambda: keras.layers.GRU(4)),
        ((6, 6, 1), lambda: keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.Flatten()])),
    ],
    ids=["set", "series", "image"],
)
def test_sets_series_and_images_are_embedded(event, embedding, tmp_path):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(60, 2))
    x = 100 + rng.normal(size=(60, *event))
    found = flowkit.posterior(pairs=(theta, x), embedding=embedding(), epochs=1, **SMALL)
    assert found.sample(3, x[0], seed=0).shape == (3, 2)
    seen = found.flow.embedding.layers[0](x.astype("float32"))
    assert abs(float(keras.ops.mean(seen))) < 0.2  # standardised before
    found.flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_allclose(
        again.log_prob(theta[:5], x[:5]), found.flow.log_prob(theta[:5], x[:5]), rtol=1e-4, atol=1e-5
    )


def test_an_embedding_is_copied_and_keeps_what_it_knows():
    rng = np.random.default_rng(0)
    options = SMALL | {"pairs": (rng.normal(size=(60, 2)), rng.normal(size=(60, 6, 1))), "epochs": 1}
    reader = keras.layers.GRU(4)
    known = flowkit.posterior(embedding=reader, **options).flow.embedding.layers[-1]
    assert not reader.built
    third = flowkit.posterior(embedding=known, learning_rate=1e-12, **options).flow.embedding.layers[-1]
    assert third is not known
    for one, other in zip(known.get_weights(), third.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0.05)  # of which a hundredth is decay


def test_simulations_that_fail_are_counted():
    def failing(theta):
        x = noisy(theta)
        x[theta[:, 0] > 0.9] = np.nan
        return x

    with pytest.warns(
        UserWarning, match=r"\d+ of 200 simulations hold NaN or infinity, the first for the parameters"
    ):
        found = flowkit.posterior(failing, BOX, simulations=200, epochs=1, **SMALL)
    assert 150 < len(found.theta) < 200
    with pytest.raises(ValueError, match=r"of 200 simulations hold NaN or infinity.* or take method='npe'"):
        flowkit.posterior(failing, BOX, simulations=200, method="nle", **SMALL)
    with pytest.raises(
        ValueError, match=r"200 of 200 simulations hold NaN or infinity.* Repair the simulator"
    ):
        flowkit.posterior(lambda theta: noisy(theta) * np.nan, BOX, simulations=200, **SMALL)


ROWS = np.zeros((9, 2))
PAIRS = {"pairs": (ROWS, ROWS)}
# (arguments, part of the message)
BAD = [
    ({"simulator": noisy}, "expected a simulator and a prior"),
    ({"prior": [(0, 1), (2, 1)]}, r"got \[\(0, 1\), \(2, 1\)\], expected a list .* low < high"),
    ({"prior": [(0, 1), (0,)]}, r"prior: got .*, expected a list of one entry"),
    ({"prior": Normal()}, "expected features=, the number of parameters"),
    ({"prior": lambda n: np.zeros(n)}, r"prior: got draws of shape \(16,\) from prior\(16\)"),
    (
        {"simulator": lambda theta: theta[:5], "prior": BOX},
        r"simulator: got an array of shape \(5, 2\), expected",
    ),
    ({"simulator": lambda theta: 1j * theta, "prior": BOX}, "got an array of complex64"),
    ({"pairs": (ROWS, np.ma.masked_equal(ROWS, 0))}, "got a masked array"),
    ({"pairs": (ROWS, ROWS[:5])}, r"arrays of shapes \(9, 2\) and \(5, 2\), expected \(n, d\)"),
    ({"pairs": (ROWS * np.nan, ROWS)}, r"as parameters in row 0, expected finite numbers"),
    (
        {"pairs": (ROWS, np.zeros((9, 4, 2)))},
        r"data of shape \(4, 2\), expected vectors. .* pass an embedding=",
    ),
    ({"prior": [stats.norm([0.0, 1.0])]}, "got norm with an array as argument"),
    ({"prior": stats.dirichlet([1.0, 1.0])}, "got <scipy.*expected a list of"),
    ({"prior": stats.multivariate_normal([0, 0], 0, allow_singular=True)}, "no finite density in float32"),
    ({"prior": BOX, "names": ["a"]}, r"names: got \['a'\], expected 2 different words"),
    (
        {"prior": {"a": (0, 1)}, "names": ["b"]},
        r"names: got \['b'\] and a prior that names its parameters \['a'\]",
    ),
    ({**PAIRS, "method": "nle"}, "a prior of unknown density"),
    ({**PAIRS, "features": 2}, "got features=2 without a Distribution as prior"),
    ({**PAIRS, "observation": [0.0]}, r"observation: got an array of shape \(1,\), expected \(2,\)"),
    ({"prior": BOX, "rounds": 2, "observation": ROWS}, "got a batch with rounds=2, expected one without"),
    ({**PAIRS, "rounds": 2}, "got 2, expected 1 without a simulator, a prior and an observation"),
    ({"prior": BOX, "method": "nle", "embedding": keras.layers.Dense(2)}, "and an embedding, expected none"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_a_call_that_cannot_work_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        flowkit.posterior(**({} if "pairs" in arguments else {"simulator": noisy}) | arguments, **SMALL)


def test_a_simulator_may_change_its_parameters_in_place_and_is_told_of_rows():
    def moving(theta):
        theta += 10
        return theta

    found = flowkit.posterior(moving, BOX, simulations=60, epochs=1, **SMALL)
    np.testing.assert_allclose(found.x, found.theta + 10, rtol=1e-6)

    def one(theta):
        slope, shift = theta
        return slope + shift * np.ones(3)

    with pytest.raises(ValueError, match="too many values to unpack") as caught:
        flowkit.posterior(one, BOX, simulations=10)
    assert "np.stack([simulate(row) for row in theta])" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.sample(3, np.array([1j, 0])), "expected an observation as an array of numbers"),
        (
            lambda found: found.sample(3, np.zeros(3)),
            r"got an array of shape \(3,\), expected \(2,\), or \(b, 2\)",
        ),
        (lambda found: found.sample(3, [np.nan, 0.0]), "got NaN in entry 0 of row 0, expected a number"),
        (lambda found: found.log_prob([0.0, 0.0]), r"parameters of shape \(2,\) and 1 observations"),
        (lambda found: found.log_prob([[0.0, 0.0], [0.0, np.nan]]), "got NaN in row 1, expected numbers"),
        (lambda found: found.sample(3, names=True), "names=True for parameters without names"),
        (
            lambda found: found.log_prob(np.zeros(3, [("a", "f4")])),
            r"parameters named \['a'\], expected plain rows",
        ),
        (
            lambda found: found.refine(np.zeros((2, 2)), lambda theta, x: theta[:, 0]),
            "got 2 observations, expected",
        ),
        (
            lambda found: found.refine(None, lambda theta, x: theta),
            r"log_likelihood: got shape \(\d+, 2\), expected",
        ),
        (lambda found: found.plot(np.zeros((2, 2))), "got 2 observations, expected one"),
        (lambda found: found.check(ROWS), "got theta alone"),
        (lambda found: found.check(x=ROWS), "got x alone"),
        (lambda found: found.check(ROWS, ROWS[:5]), r"shape \(9, 2\) and 5 observations, expected \(n, 2\)"),
        (lambda found: found.check(ROWS * np.nan, ROWS), "parameters: got NaN in row 0"),
        (lambda found: found.check(ROWS[:1], ROWS[:1]), "got 1 pairs, expected at least 2"),
        (lambda found: found.check(draws=1), "check's draws: got 1, expected a whole number from 2 up"),
        (lambda found: found.check(seed=-1), "check's seed: got -1, expected a whole number from 0 up"),
    ],
)
def test_observations_that_do_not_fit_are_refused(linear, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(linear)


def test_without_observation_or_simulator_one_has_to_be_passed():
    found = flowkit.posterior(pairs=np.random.default_rng(0).normal(size=(2, 9, 2)), epochs=1, **SMALL)
    with pytest.raises(ValueError, match="got no observation"):
        found.sample(3)
    with pytest.raises(ValueError, match="got no pairs and no simulator"):
        found.check()
    with pytest.raises(ValueError, match="prior: got one of unknown density"):
        found.refine([0.0, 0.0], lambda theta, x: theta[:, 0])


def test_pairs_count_by_their_weights():
    rng = np.random.default_rng(0)
    theta = rng.choice([-1.0, 1.0], (600, 1)) + 0.1 * rng.normal(size=(600, 1))
    x = rng.normal(size=(600, 1))  # says nothing
    options = {"pairs": (theta, x), "epochs": 40, "layers": 2, "hidden": [8], "verbose": 0}
    found = flowkit.posterior(sample_weight=np.where(theta[:, 0] > 0, 1.0, 0.0), **options)
    assert (found.sample(500, np.array([0.0]), seed=0) > 0).mean() > 0.95
    assert (found.theta[found.held] > 0).all()
    with pytest.raises(ValueError, match="expected a number from 0 up for each of 600 rows"):
        flowkit.posterior(sample_weight=np.ones(3), **options)
    with pytest.raises(ValueError, match="sample_weight= without pairs"):
        flowkit.posterior(lambda theta: theta, [(0, 1)], sample_weight=np.ones(3))
