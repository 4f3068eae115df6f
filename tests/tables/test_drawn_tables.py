"""Tables that Hypothesis draws: types, missing entries, numbers far from 0, odd names, both libraries."""

import json

import hypothesis
import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import strategies as st

import flowkit
from flowkit.data.typed_columns import TypedColumns, restored_columns

pytestmark = pytest.mark.one_engine
ROWS = 40
SETTINGS = {"deadline": None, "database": None, "derandomize": True}
FAR = st.sampled_from([0, 1, -7, 10**6, 2**53, 2**60])
DAY = np.datetime64("2020-02-27T03:00", "us")
KINDS = {
    "whole": lambda rng, far: far + rng.integers(-20, 20, ROWS),
    "id": lambda rng, far: far + rng.integers(0, 10**6, ROWS),
    "real": lambda rng, far: min(far, 10**9) + rng.normal(size=ROWS),
    "tiny": lambda rng, far: np.exp(rng.normal(size=ROWS) - 30),
    "steps": lambda rng, far: (min(far, 10**6) + rng.integers(0, 30, ROWS) / 10).round(1),
    "word": lambda rng, far: rng.choice(["a", "b ", 'ü,"', ""], ROWS),
    "flag": lambda rng, far: rng.random(ROWS) < 0.5,
    "day": lambda rng, far: (
        DAY.astype("datetime64[D]").astype("datetime64[us]")
        + rng.integers(0, 50, ROWS) * np.timedelta64(1, "D")
    ),
    "time": lambda rng, far: DAY + rng.integers(0, 10**11, ROWS),
    "rain": lambda rng, far: np.where(np.arange(ROWS) % 2, 0.0, rng.exponential(size=ROWS)),
    "clipped": lambda rng, far: far + np.maximum(0, rng.permutation(2 * ROWS)[:ROWS] - ROWS),
    "constant": lambda rng, far: np.full(ROWS, far),
}


@st.composite
def frames(draw):
    """A frame of one to four columns, some of which miss every fifth entry; of pandas with other names and rows."""
    rng, columns = np.random.default_rng(draw(st.integers(0, 2**32))), {}
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))):
        entries, gaps = KINDS[kind](rng, draw(FAR)).tolist(), draw(st.booleans())
        columns[f"{kind} {number}"] = [
            None if gaps and row % 5 == 2 else entry for row, entry in enumerate(entries)
        ]
    if draw(st.booleans()):
        return pl.DataFrame(columns)
    columns = {name: pd.array(own) if isinstance(own[0], int) else own for name, own in columns.items()}
    frame = pd.DataFrame(columns)
    if draw(st.booleans()):
        frame.columns = range(7, 7 + len(columns))
        frame.index = range(100, 100 + ROWS)
    return frame


def entries(frame, name):
    """The entries of a column as Python's own, None where one is missing."""
    return [
        None if entry is None or entry is pd.NA or entry != entry else entry
        for entry in frame[name].to_list()
    ]


def same(one, other):
    """Assert that two frames have the same entries, but for a rounding of real numbers, and the same types."""
    assert list(one.dtypes) == list(other.dtypes)
    for name in other.columns:
        ours, theirs = entries(one, name), entries(other, name)
        if any(isinstance(entry, float) for entry in theirs):
            np.testing.assert_allclose(np.array(ours, float), np.array(theirs, float), rtol=1e-14)
        else:
            assert ours == theirs


@hypothesis.settings(**SETTINGS, max_examples=150)
@hypothesis.given(frames())
def test_a_frame_comes_back_from_its_codes(frame):
    columns = TypedColumns.infer(frame)
    codes = columns.values(frame)
    same(columns.frame(codes), frame)
    assert restored_columns(json.loads(json.dumps(columns.stored()))) == columns
    for row in (0, 2):  # of which the second misses entries
        assert list(columns.frame(codes[row : row + 1]).dtypes) == list(frame.dtypes)


@hypothesis.settings(**SETTINGS, max_examples=8)
@hypothesis.given(frames())
def test_a_table_is_fitted_sampled_filled_and_saved(tmp_path_factory, frame):
    flow = flowkit.fit_table(frame, layers=1, hidden=[4], epochs=1, verbose=0)
    scores = flow.log_prob(frame)
    assert np.isfinite(scores.to_numpy()).all()
    assert scores.name == ("log_prob" if flow.exact == "exact" else "log_prob_bound")
    assert isinstance(frame, pl.DataFrame) or scores.index.equals(frame.index)
    drawn = flow.sample(20, seed=0)
    assert list(drawn.dtypes) == list(frame.dtypes)
    flow.log_prob(drawn)  # which names entries that cannot be
    filled = flow.impute(frame, sweeps=1, candidates=2, seed=0)
    for name in frame.columns:
        pairs = zip(entries(filled, name), entries(frame, name), strict=True)
        assert all(new is not None if old is None else new == old for new, old in pairs)
    path = tmp_path_factory.mktemp("drawn") / "table.keras"
    flow.save(path)
    again = keras.saving.load_model(path)
    np.testing.assert_array_equal(again.log_prob(frame).to_numpy(), scores.to_numpy())
    same(again.sample(20, seed=0), drawn)
