"""A posterior comes back from its file with all that it knew, on any backend, and bad files are refused in a line."""

import json
import pickle
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import flowkit
from flowkit.distributions import Uniform
from flowkit.posteriors.prior import as_prior, from_columns

pytestmark = pytest.mark.one_engine

NOISE = np.random.default_rng(0)
SMALL = {"simulations": 100, "epochs": 1, "layers": 2, "hidden": (8,), "verbose": 0}


def noisy(theta):
    return theta + NOISE.normal(size=theta.shape)


@pytest.fixture(scope="module")
def found():
    """A posterior with everything: names, mixed bounds, sets with gaps, an observation and a report."""

    def sets(theta):
        x = theta[:, None, :] + NOISE.normal(size=(len(theta), 5, 2))
        x[NOISE.random(x.shape) < 0.1] = np.nan
        return x

    options = SMALL | {"sizes": (2, 5), "observation": np.ones((3, 2))}
    posterior = flowkit.posterior(sets, {"rate": stats.gamma(2.0), "shift": (-2, 2)}, **options)
    posterior.check(pairs=30, draws=9)
    return posterior


def test_it_comes_back_whole(found, tmp_path):
    found.save(tmp_path / "p.keras")
    again = flowkit.load_posterior(tmp_path / "p.keras")
    assert repr(again) == repr(found)
    assert (again.names, again.rounds, again.data.sizes) == (("rate", "shift"), 1, (2, 5))
    np.testing.assert_array_equal(again.theta, found.theta)
    np.testing.assert_array_equal(again.x, found.x)
    np.testing.assert_allclose(again.sample(9, seed=3), found.sample(9, seed=3), atol=1e-5)
    assert again.misspecified() == pytest.approx(found.misspecified(), abs=0.1)
    assert str(again.report) == str(found.report)
    assert again.report.numbers == found.report.numbers
    assert again.report.figures["tarp"].axes  # none in the file, and a line that says so
    assert keras.saving.load_model(tmp_path / "p.keras").event_shape == (2,)


def test_another_backend_draws_the_same(found, tmp_path, run_python):
    found.save(tmp_path / "p.keras")
    source = """
        import sys, numpy as np, flowkit
        found = flowkit.load_posterior(sys.argv[1])
        draws = found.sample(50, seed=1)
        np.savez(sys.argv[2], draws=draws, log_prob=found.log_prob(draws), prior=found.prior.log_prob(draws))
    """
    run_python(source, engine="jax", args=(tmp_path / "p.keras", tmp_path / "there.npz"))
    there, draws = np.load(tmp_path / "there.npz"), found.sample(50, seed=1)
    np.testing.assert_allclose(there["draws"], draws, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(there["log_prob"], found.log_prob(draws), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(there["prior"], found.prior.log_prob(draws), rtol=1e-3, atol=1e-3)


FLOW = flowkit.Flow(flowkit.bijectors.Shift())
FLOW.build((None, 2))
PRIORS = [
    ({"prior": [stats.randint(-2, 5), ["one", "two", "three"]]}, True),
    ({"prior": stats.multivariate_normal([0, 1], [[1, 0.5], [0.5, 1]])}, True),
    ({"prior": stats.multivariate_t([0, 1], df=5)}, True),
    ({"prior": Uniform(0.0, 2.0), "features": 2}, True),
    ({"prior": FLOW}, True),
    ({"prior": lambda n: np.random.default_rng(0).random((n, 2))}, False),
    ({}, False),
]


@pytest.mark.parametrize(("prior", "known"), PRIORS)
def test_each_prior_comes_back(prior, known, tmp_path):
    theta = as_prior(**prior).draw(40, np.random.default_rng(0)) if prior else NOISE.random((40, 2))
    found = flowkit.posterior(pairs=(theta, noisy(theta)), names=["a", "b"], **prior, **SMALL)
    found.save(tmp_path / "p.keras")
    again = flowkit.load_posterior(tmp_path / "p.keras").prior
    assert again.names == ("a", "b")
    assert again.domains == found.prior.domains
    drawn = again.draw(20, np.random.default_rng(1))
    if known:
        np.testing.assert_allclose(drawn, found.prior.draw(20, np.random.default_rng(1)), rtol=1e-6)
        np.testing.assert_allclose(again.log_prob(drawn), found.prior.log_prob(drawn), rtol=1e-6)
    else:
        assert drawn.shape == (20, 2)
        assert again.density is None


positive = st.floats(0.1, 10)
COLUMN = st.one_of(
    st.tuples(st.floats(-10, 0), positive),
    st.builds(stats.norm, st.floats(-10, 10), scale=positive),
    st.builds(stats.gamma, positive, scale=positive),
    st.builds(stats.beta, positive, positive, loc=st.floats(-10, 10), scale=positive),
    st.builds(stats.weibull_max, positive),  # below 0
    st.builds(stats.binom, st.integers(1, 30), st.floats(0.01, 0.99)),
    st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True),
    st.dictionaries(st.text(min_size=1), positive, min_size=2, max_size=5),
)


def log_density(column, theta):
    """log p of one parameter."""
    match column:
        case tuple():
            return -np.log(column[1] - column[0])
        case list():
            return -np.log(len(column))
        case dict():
            shares = np.array(list(column.values()))
            return np.log(shares / shares.sum())[theta.astype(int)]
    return column.logpmf(theta) if column.dist.name == "binom" else column.logpdf(theta)


@settings(max_examples=30, deadline=None)
@given(st.lists(COLUMN, min_size=1, max_size=3))
def test_draws_stay_inside_and_files_keep_the_density(columns):
    prior = as_prior(columns)
    drawn = prior.draw(200, np.random.default_rng(0))
    assert prior.inside(drawn).all()
    expected = 0.0
    for column, theta in zip(columns, drawn.astype("float64").T, strict=True):
        expected = expected + log_density(column, theta)
    np.testing.assert_allclose(prior.log_prob(drawn), expected, rtol=1e-9)
    again = from_columns(json.loads(json.dumps(prior.columns)))
    np.testing.assert_array_equal(
        again.draw(9, np.random.default_rng(1)), prior.draw(9, np.random.default_rng(1))
    )
    np.testing.assert_array_equal(again.log_prob(drawn), prior.log_prob(drawn))


def damaged(path, name, change):
    """Change one member of a zip file; None takes it away."""
    with zipfile.ZipFile(path) as file:
        content = {one: file.read(one) for one in file.namelist()}
    content[name] = change(content[name])
    with zipfile.ZipFile(path, "w") as file:
        for one, data in content.items():
            if data is not None:
                file.writestr(one, data)


def as_pickle(_):
    return pickle.dumps(np.array([{}]))


def edited(**changes):
    return lambda data: json.dumps(json.loads(data) | changes).encode()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("posterior.json", lambda data: None, "got a flow alone, expected a file of posterior.save"),
        ("posterior.json", lambda data: data[:20], "got a damaged file"),
        ("posterior.json", edited(posterior=2), "a newer flowkit"),
        (
            "posterior.json",
            edited(columns=[["rv_continuous", [], {}]] * 2),
            "expected the name of a distribution",
        ),
        ("posterior.json", edited(method="__init__"), "got a damaged file"),
        ("theta.npy", as_pickle, "got a damaged file"),
        ("theta.npy", lambda data: data[:-50], "got a damaged file"),
        ("model.weights.h5", lambda data: data[:-500], "cannot be loaded|damaged"),
    ],
)
def test_a_damaged_file_is_refused(found, tmp_path, name, change, message):
    path = tmp_path / "p.keras"
    found.save(path)
    damaged(path, name, change)
    with pytest.raises(flowkit.PresetError, match=message) as caught:
        flowkit.load_posterior(path)
    assert "\n" not in str(caught.value)


def test_other_paths_are_refused_and_a_failed_save_leaves_the_old_file(found, tmp_path, monkeypatch):
    path = tmp_path / "p.keras"
    path.write_text("old")
    with pytest.raises(flowkit.PresetError, match=r"expected a \.keras file"):
        flowkit.load_posterior(path)
    with pytest.raises(ValueError, match=r"expected a path that ends in \.keras"):
        found.save(tmp_path / "p.pkl")
    monkeypatch.setattr(np.lib.format, "write_array", lambda *given, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found.save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["p.keras"]
    assert path.read_text() == "old"


def test_a_likelihood_with_a_prior_of_no_name_is_refused(tmp_path):
    class Own(stats.rv_continuous):
        def _pdf(self, x):
            return np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)

    found = flowkit.posterior(noisy, [Own(name="own")(), (0, 1)], method="nle", **SMALL)
    with pytest.raises(ValueError, match="a prior of your own, expected one that a file can hold"):
        found.save(tmp_path / "p.keras")
