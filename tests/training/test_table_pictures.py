"""Pictures of tables: written whole, whatever the numbers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from flowkit.data.typed_columns import TypedColumns
from flowkit.plots import _limits, draw_pairs, pair_plot
from flowkit.training import save_pairs, save_quantiles
from flowkit.training.pictures import _outside

pytestmark = pytest.mark.one_engine


def shades(path):
    return len(np.unique(np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3), axis=0))


@pytest.mark.parametrize("columns", [1, 4])
def test_tables_of_any_width(tmp_path, monkeypatch, columns):
    monkeypatch.setattr("flowkit.training.pictures.MOST_COLUMNS", 2)
    rng = np.random.default_rng(0)
    x, samples = rng.normal(size=(50, columns)), rng.normal(size=(30, columns))
    x[:, 0] = 1.0  # of a constant there is an axis as well
    save_pairs(tmp_path / "pairs.png", x, samples, [f"name {i}" for i in range(columns)])
    save_quantiles(tmp_path / "quantiles.png", x, samples)
    assert shades(tmp_path / "pairs.png") > 20
    assert shades(tmp_path / "quantiles.png") > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.png", "quantiles.png"]
    save_pairs(tmp_path / "pairs.png", x, np.full_like(samples, np.inf))  # of a flow that has diverged
    save_quantiles(tmp_path / "quantiles.png", np.full_like(x, np.nan), samples)


def test_few_rows_are_drawn_plainly(tmp_path):
    """Each of 20 dots shows its full colour on some pixels, in the panels of both tables."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    save_pairs(tmp_path / "pairs.png", x, x)
    picture = np.asarray(Image.open(tmp_path / "pairs.png").convert("RGB"))
    height, width = picture.shape[:2]
    for part, colour in (
        (picture[height // 2 :, : width // 2], (31, 119, 180)),  # data, below the diagonal
        (picture[: height // 2, width // 2 :], (255, 127, 14)),  # samples, above
    ):
        assert (part == colour).all(axis=-1).sum() > 20 * 10
    save_pairs(tmp_path / "none.png", x, np.zeros((0, 2)))


def test_axes_reach_to_samples_beyond_the_data_and_the_rest_is_counted():
    data = np.linspace(0.0, 10.0, 1001)
    near, far = np.linspace(-2.0, 10.0, 1001), np.concatenate([data, [1e6] * 20])
    assert _limits(data, data)[0] == pytest.approx(-0.5, abs=0.02)
    assert _limits(data, near)[0] == pytest.approx(-2.6, abs=0.02)
    low, high = _limits(data, far)
    assert high == pytest.approx(15.75, abs=0.1)  # half the data's width beyond them, and a margin
    rows = np.stack([far, np.zeros(len(far))], axis=1)
    rows[:3, 1] = np.nan
    assert _outside(rows, [(low, high), (-1.0, 1.0)]) == "20 of 1,021"


def test_a_mixed_table_is_drawn_in_its_entries_without_the_missing_ones():
    frame = pd.DataFrame(
        {
            "kind": ["cat", "dog", None] * 20,
            "day": pd.Timestamp("2020-02-01") + pd.to_timedelta(np.arange(60), unit="D"),
            "age": [None, *np.round(np.linspace(20, 30, 29), 1)] * 2,
        }
    )
    types = TypedColumns.infer(frame)
    codes = types.values(frame)
    figure = Figure()
    limits = draw_pairs(figure, codes, codes, types.names, types=types)
    assert limits[0] == (-0.5, 1.5)
    assert limits[2] == pytest.approx((19.5, 30.5), abs=0.1)
    figure.canvas.draw()
    bottom = [[text.get_text() for text in axes.get_xticklabels()] for axes in figure.axes[6:9]]
    assert bottom[0] == ["cat", "dog"]
    assert all(text.startswith("2020") for text in bottom[1])
    drawn = types.drawable(codes)
    assert _outside(drawn, limits) == "0 of 60"


def test_long_numbers_have_their_unit_below_the_name_and_no_other_text_on_the_axes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)) * [1e5, 1e-6, 1.0, 100.0] + [2e6, 0.0, 0.0, 50_000.0]
    figure = Figure(figsize=(6, 6), layout="constrained")
    draw_pairs(figure, x, x, ["income", "rate", "age", "distance"])
    figure.canvas.draw()
    last = figure.axes[12:]
    assert [axes.get_xlabel() for axes in last] == ["income\n(1e6)", "rate\n(1e-6)", "age", "distance"]
    assert {axes.xaxis.get_offset_text().get_text() for axes in last} == {""}
    ticks = [float(text.get_text()) for text in last[0].get_xticklabels()]
    assert 1.5 < min(ticks) < max(ticks) < 2.5


def test_columns_that_are_left_out_are_counted():
    x = np.random.default_rng(0).normal(size=(20, 8))
    figure = pair_plot(None, x, [f"name {i}" for i in range(8)])
    assert figure.get_supxlabel() == "the first 6 of 8 columns"
