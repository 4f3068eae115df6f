"""Rows with fixed entries: a known conditional density, categories beside the flow's own draws, and bad entries."""

import numpy as np
import pandas as pd
import pytest

import flowkit
from flowkit.data.typed_columns import ContextColumns

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize("where", [{"c": 1.0}, {"c": -2.5}, {"b": 1.0, "c": -0.5}])
def test_rows_have_the_known_conditional_density(normal, covariance, where):
    fixed = ["abc".index(name) for name in where]
    free = [place for place in range(3) if place not in fixed]
    gain = covariance[np.ix_(free, fixed)] @ np.linalg.inv(covariance[np.ix_(fixed, fixed)])
    mean = gain @ list(where.values())
    std = np.sqrt(np.diag(covariance[np.ix_(free, free)] - gain @ covariance[np.ix_(fixed, free)]))
    drawn = normal.sample(1000, where=where, seed=0)
    assert (drawn[list(where)].to_numpy() == np.float32(list(where.values()))).all()
    rows = drawn.to_numpy()[:, free]
    # Four errors, of 1,000 rows made of at least as many effective draws.
    assert rows.mean(axis=0) == pytest.approx(mean, abs=4 * np.sqrt(2 / 1000))
    assert rows.std(axis=0) == pytest.approx(std, rel=4 * np.sqrt(1 / 1000))
    assert len(np.unique(rows[:, 0])) > 900
    assert normal.sample(3, where=where, seed=4).equals(normal.sample(3, where=where, seed=4))


@pytest.fixture(scope="module")
def mixed():
    rng = np.random.default_rng(0)
    kind = rng.choice(list("abc"), 600, p=[0.7, 0.25, 0.05])
    frame = pd.DataFrame(
        {
            "kind": kind,
            "n": rng.poisson(np.where(kind == "a", 2, 8)),
            "x": np.where(rng.random(600) < 0.2, np.nan, rng.normal(size=600)),
            "hour": rng.integers(0, 3, 600) * 1.0,
        }
    )
    return flowkit.fit_table(frame, given=["hour"], layers=2, hidden=[16], epochs=5, verbose=0)


@pytest.mark.parametrize("where", [{"kind": "b"}, {"kind": "c"}, {"n": 4}])
def test_rows_are_those_of_the_flow_that_have_the_entry(mixed, where):
    """Also if log_prob is a bound, and missing entries among the free ones."""
    hours = pd.DataFrame({"hour": [0.0, 2.0]})
    drawn = mixed.sample(400, hours, where=where, seed=1)
    ((name, entry),) = where.items()
    assert (drawn[name] == entry).all()
    assert (drawn.hour == [0.0, 2.0] * 400).all()
    whole = mixed.sample(8000, hours, seed=2)
    expected = whole[whole[name] == entry]

    def features(rows):
        return np.stack([rows.kind == "a", rows.n / 8, rows.x.isna(), rows.x.fillna(0.0)], axis=1).astype(
            float
        )

    found, known = features(drawn), features(expected)
    error = np.sqrt(2 * known.var(axis=0) / 800 + known.var(axis=0) / len(known)) + 1e-9
    assert (np.abs(found.mean(axis=0) - known.mean(axis=0)) < 4.5 * error).all()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"kinds": "a"}, "got 'kinds', expected names of columns; the nearest is kind"),
        ({"kind": "d"}, "got 'd' for column 'kind', expected one of the 3 categories"),
        ({"kind": None}, "got a missing entry for column 'kind'"),
        ({"kind": ["a"]}, r"got \['a'\] for column 'kind'"),
        ({"n": 2.5}, "got 2.5 for column 'n', expected 0 to"),
        ({"n": "many"}, "got 'many' for column 'n', expected 0 to"),
        ({"hour": 1.0}, "got 'hour', a given column, expected modelled ones. Pass it in context="),
    ],
)
def test_entries_that_cannot_be_raise_one_error(mixed, where, message):
    assert isinstance(mixed.context_columns, ContextColumns)
    with pytest.raises(ValueError, match=message):
        mixed.sample(2, pd.DataFrame({"hour": [0.0]}), where=where)


def test_fixed_entries_take_no_other_options(normal):
    with pytest.raises(ValueError, match="got temperature= and where=, expected seed= alone"):
        normal.sample(2, where={"a": 0.0}, temperature=0.5)


def test_few_draws_near_the_entries_are_a_warning(normal):
    with pytest.warns(UserWarning, match="draws of the flow, expected 20"):
        normal.sample(100, where={"a": 6.0}, seed=0)
    assert len(normal.sample(0, where={"a": 0.0})) == 0
