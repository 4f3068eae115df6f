"""Draws and normalisers of densities that are known, and what is refused."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import flowkit
from flowkit.densities.coordinates import Coordinates

pytestmark = pytest.mark.one_engine

QUICK = {"budget": 20_000, "epochs": 4, "verbose": 0}


def gaussian(x):
    return -0.5 * (x**2).sum(axis=1)


def mixture(x):
    """Three normals of deviation 0.5, times e."""
    means, weights = np.array([[-2.0, -2.0], [2.0, 1.0], [-1.0, 3.0]]), [0.3, 0.5, 0.2]
    squares = np.square((x[:, None] - means) / 0.5).sum(axis=2)
    return 1 + logsumexp(-0.5 * squares - math.log(2 * math.pi * 0.25), axis=1, b=weights)


def test_three_modes():
    """Half of the mass has x > 0."""
    found = flowkit.sample_density(mixture, 2, budget=40_000, epochs=10, verbose=0)
    assert found.log_z_error < 0.05
    assert abs(found.log_z - 1) < 4 * found.log_z_error
    assert abs((found.draws[:, 0] > 0).mean() - 0.5) < 0.05
    assert found.trusted, found.doubts
    assert found.calls <= 40_000


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_the_error_holds_for_other_seeds(seed):
    found = flowkit.sample_density(mixture, 2, seed=seed, verbose=0)
    assert abs(found.log_z - 1) < 4 * found.log_z_error


def test_a_density_far_from_its_start_is_not_trusted():
    """Of two modes the walkers see the wide one, and too few of them the narrow one, or they do not get there."""

    def narrow(x):
        return -0.5 * np.square((x - 60) / 0.01).sum(axis=1)

    found = flowkit.sample_density(narrow, 8, start=np.zeros(8), **QUICK)
    assert not found.trusted
    assert found.log_z_error > 1


def test_bounds_are_kept_and_a_prior_is_where_to_begin():
    """A uniform prior on (0, 1) and an exponential one; the likelihood falls with the rate 5 in both."""

    def log_density(x):
        return np.where((x > 0).all(axis=1), -5 * x[:, 0] - 6 * x[:, 1], -np.inf)

    prior = [(0, 1), stats.expon()]
    found = flowkit.sample_density(log_density, 2, prior=prior, budget=40_000, epochs=10, verbose=0)
    truth = math.log(-math.expm1(-5) / 5 / 6)
    assert ((found.draws > 0) & (found.draws < [1, np.inf])).all()
    assert abs(found.log_z - truth) < 4 * found.log_z_error
    assert abs(found.draws[:, 1].mean() - 1 / 6) < 0.02
    assert found.flow.sample(10, seed=0).min() > 0
    same = flowkit.sample_density(log_density, 2, domains=[(0, 1), "positive"], budget=40_000, verbose=0)
    assert abs(same.log_z - truth) < 4 * same.log_z_error


def test_one_row_at_a_time_is_the_same():
    def of_row(x):
        return -0.5 * (x**2).sum()

    rows = flowkit.sample_density(of_row, 2, vectorized=False, **QUICK)
    batch = flowkit.sample_density(gaussian, 2, **QUICK)
    np.testing.assert_allclose(rows.draws, batch.draws)
    assert rows.log_z == pytest.approx(batch.log_z)


def failing(x):
    raise KeyError("mass")


@pytest.mark.parametrize(
    ("log_density", "options", "message"),
    [
        (lambda x: x, {}, r"got shape \(500, 2\) of float64 for 500 rows, the first \["),
        (lambda x: 0.0, {}, r"got shape \(\) .* Pass vectorized=False"),
        (lambda x: [None] * len(x), {}, "got nan at"),
        (lambda x: x, {"vectorized": False}, r"got shape \(2,\) of float64 at \["),
        (lambda x: np.full(len(x), np.nan), {}, r"got nan at \[.*Return -inf where"),
        (lambda x: np.full(len(x), np.inf), {}, "got inf at"),
        (lambda x: np.full(len(x), -np.inf), {}, "got a density of 0 at all 500 draws"),
        (failing, {}, r"got KeyError \('mass'\) for 500 rows, the first"),
        (failing, {"vectorized": False}, r"got KeyError \('mass'\) at \["),
        (gaussian, {"budget": 100}, "budget: got 100"),
        (gaussian, {"domains": ["real"]}, "domains: got 1, expected one for each of 2"),
        (gaussian, {"domains": ["real", "circular"]}, "got a circle"),
        (gaussian, {"start": [[1.0, 2.0, 3.0]]}, r"start: got shape \(1, 3\)"),
        (
            gaussian,
            {"start": [1.0, -2.0], "domains": ["real", "positive"]},
            r"start: got \[1.0, -2.0\] in row 0",
        ),
        (gaussian, {"prior": [(0, 1)]}, "prior: got 1 of it"),
        (gaussian, {"prior": lambda n: np.zeros((n, 2))}, "prior: got no density"),
        (gaussian, {"prior": [(0, 1)] * 2, "start": [0.5, 0.5]}, "got a prior with start="),
    ],
)
def test_bad_input_ends_in_one_line(log_density, options, message):
    with pytest.raises(ValueError, match=message) as error:
        flowkit.sample_density(log_density, 2, **QUICK | options)
    assert "\n" not in str(error.value)


def test_coordinates_return_and_their_log_det_is_the_derivative():
    place = Coordinates(4, ["real", "positive", (-np.inf, 3.0), (1.0, 5.0)])
    place, u = place.standardized(np.random.default_rng(0).normal(size=(50, 4)))
    x, log_det = place.rows(u)
    np.testing.assert_allclose(place.of_rows(x), u, atol=1e-9)
    # The matrix of derivatives is triangular.
    slopes = [(place.rows(u + 1e-6 * step)[0] - x)[:, i] / 1e-6 for i, step in enumerate(np.eye(4))]
    np.testing.assert_allclose(np.log(slopes).sum(axis=0), log_det, atol=1e-4)


# Evidence


def test_evidence_of_exact_draws():
    x = np.random.default_rng(0).normal(size=(2000, 3)) * [1.0, 0.01, 5.0] + 100
    log_p = stats.norm(100, [1.0, 0.01, 5.0]).logpdf(x).sum(axis=1) + 7
    log_z, error = flowkit.evidence(x, log_p, epochs=5)
    assert error < 0.05
    assert abs(log_z - 7) < 4 * error


def test_evidence_within_bounds():
    x = np.random.default_rng(0).exponential(size=(2000, 2))
    log_z, error = flowkit.evidence(x, -x.sum(axis=1), domains=["positive", "positive"], epochs=5)
    assert abs(log_z) < 4 * error < 0.2


@pytest.mark.parametrize(
    ("draws", "log_p", "message"),
    [
        (np.zeros((10, 2)), np.zeros(10), "n from 500 up"),
        (np.zeros((600, 2)), np.zeros(500), r"shape \(600, 2\) and log-densities of shape \(500,\)"),
        (np.zeros((600, 2)), np.full(600, -np.inf), "got -inf in row 0"),
        (np.full((600, 2), np.nan), np.zeros(600), "draws: got .* in row 0"),
    ],
)
def test_evidence_refuses_what_is_no_draw(draws, log_p, message):
    with pytest.raises(ValueError, match=message):
        flowkit.evidence(draws, log_p)
