"""Tables: what a flow adapts to, what it refuses by name, and frames in and out."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from small_flows import Rows, one_line

import flowkit
from flowkit import Flow, zoo
from flowkit.bijectors import ActNorm, Chain, Coupling, OnColumns, Permute, Pointwise, Standardize
from flowkit.conditioners import MLP
from flowkit.transforms import Affine, MixtureOfLogistics
from flowkit.zoo import table_front

pytestmark = pytest.mark.one_engine

NAMES = ["offset", "tiny", "share"]


def table(rows, seed=0):
    """A column far from 0, one of a small scale above 0, one in (0, 1)."""
    rng = np.random.default_rng(seed)
    share = 1 / (1 + np.exp(-rng.normal(size=rows)))
    return np.stack([rng.normal(1e4, 2.0, rows), np.exp(rng.normal(-9.0, 1.0, rows)), share], axis=1)


def front():
    return table_front(features=3, domains={1: "positive", 2: (0.0, 1.0)})


def table_flow():
    return Flow(Chain([*front(), Coupling(MLP([4]))]))


def standard(flow):
    return next(part for part in flow.bijector.parts if isinstance(part, Standardize))


def mean(flow):
    return np.asarray(keras.ops.convert_to_numpy(standard(flow).mean), "float64")


def fitted(flow, data, **options):
    flow.compile(keras.optimizers.SGD(0.0))
    flow.fit(data, verbose=0, **options)
    return flow


def test_the_example_of_the_user_guide_runs():
    page = (Path(__file__).parents[2] / "docs" / "user-guide.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "table_front(" in b)
    names = {"flowkit": flowkit, "keras": keras, "np": np}
    names |= {"Chain": Chain, "Coupling": Coupling, "MLP": MLP, "Affine": Affine}
    exec(compile(block, "user-guide.md", "exec"), names)
    assert names["surveyed"].sample(5, seed=0).shape == (5, 3)


# Statistics


@pytest.mark.two_engines
def test_log_prob_is_in_the_units_of_the_data():
    x = table(500)
    flow = Flow(Chain(front())).adapt(x)
    # A normal in the first, the logarithm of the second, the logit of the third, by hand.
    t = np.stack([x[:, 0], np.log(x[:, 1]), np.log(x[:, 2] / (1 - x[:, 2]))], axis=1)
    z = (t - t.mean(0)) / t.std(0)
    slopes = -np.log(t.std(0)).sum() - np.log(x[:, 1]) - np.log(x[:, 2] * (1 - x[:, 2]))
    expected = -0.5 * (z**2 + np.log(2 * np.pi)).sum(1) + slopes
    np.testing.assert_allclose(flow.log_prob(x), expected, atol=2e-3)
    samples = flow.sample(200, seed=0)
    assert flow.bijector.spec.domain.contains(keras.ops.convert_to_tensor(samples))
    assert abs(np.median(samples[:, 0]) - 1e4) < 1.0


@pytest.mark.parametrize("rows", [300, 12_000])
def test_fit_adapts_to_more_than_the_first_batch(rows):
    x = np.sort(table(rows), axis=0).astype("float32")
    flow = fitted(Flow(Chain([Standardize()])), x, batch_size=rows // 3, steps_per_epoch=1)
    if rows <= 10_000:
        np.testing.assert_allclose(mean(flow), x.mean(0, dtype="float64"), rtol=1e-6)
    else:  # a draw of 10,000, the same each time
        np.testing.assert_allclose(mean(flow), x.mean(0, dtype="float64"), rtol=0.02)
        again = fitted(Flow(Chain([Standardize()])), x, batch_size=rows, steps_per_epoch=1)
        np.testing.assert_array_equal(mean(flow), mean(again))


def test_rows_that_are_kept_for_validation_are_not_looked_at():
    x = np.sort(table(100), axis=0).astype("float32")
    flow = fitted(Flow(Chain([Standardize()])), x, batch_size=25, validation_split=0.25)
    np.testing.assert_allclose(mean(flow), x[:75].mean(0, dtype="float64"), rtol=1e-6)


@pytest.mark.two_engines
@pytest.mark.parametrize("kind", ["data set", "generator"])
def test_of_a_data_set_as_many_batches_as_it_takes(kind):
    x = np.sort(table(64), axis=0).astype("float32")
    data = Rows({"x": x})
    flow = fitted(Flow(Chain([Standardize()])), data if kind == "data set" else (data[i] for i in range(8)))
    seen = x if kind == "data set" else x[:8]
    np.testing.assert_allclose(mean(flow), seen.mean(0, dtype="float64"), rtol=1e-6)


def test_a_flow_that_asks_for_no_rows_has_its_first_batch():
    x = np.sort(table(64), axis=0).astype("float32")
    flow = fitted(Flow(Chain([ActNorm()])), x, batch_size=8)
    shift = keras.ops.convert_to_numpy(flow.bijector.parts[0].shift)
    np.testing.assert_allclose(-shift, x[:8].mean(0), rtol=1e-5)


# What is refused


@pytest.mark.parametrize("call", ["fit", "adapt"])
def test_a_column_of_whole_numbers_is_refused(call):
    x = table(50)
    x[:, 0] = np.round(x[:, 0])
    flow = table_flow()
    flow.compile("adam")
    with pytest.raises(ValueError, match=r"got whole numbers in column 0, .*Add noise.*or leave them out"):
        getattr(flow, call)(x)
    x[:, 0] += np.random.default_rng(0).uniform(size=50)
    assert np.isfinite(flow.adapt(x).log_prob(np.array([[10_001, 1e-4, 0.5]]))).all()


def test_where_an_entry_is_missing_or_outside():
    x, flow = table(50), table_flow()
    for row, column, entry, message in (
        (7, 2, np.nan, "got 1 NaN or infinite entries of 150, the first in row 7 of column 2, .*Drop"),
        (9, 1, -1.0, r"got -1 in row 9 of column 1, expected data in Domain\.POSITIVE\. Bring"),
        (3, 2, 1.5, r"got 1\.5 in row 3 of column 2, expected data in Domain\.UNIT_INTERVAL\. Bring"),
    ):
        bad = x.copy()
        bad[row, column] = entry
        with pytest.raises(ValueError, match=message) as caught:
            flow.adapt(bad)
        one_line(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domains": {1: "positive"}}, "expected features="),
        ({"domains": {3: "positive"}, "features": 3}, "got 3, expected a whole number from 0 to 2"),
        ({"domains": ["real"], "features": 3}, "got 1, expected one for each of 3 columns"),
        ({"domains": "positive", "features": 3}, "expected a list of one for each column"),
        (
            {"domains": ["circular"]},
            "the domain of column 0: .*nsf and nsf_autoregressive take circular columns",
        ),
        ({"features": 0}, "got 0, expected a whole number from 1 up"),
    ],
)
def test_a_front_that_is_none(options, message):
    with pytest.raises(ValueError, match=message):
        zoo.table_front(**options)


def test_other_domains_than_columns_are_counted():
    flow = zoo.nsf(domains=["real", "positive"], layers=1, hidden=[4])
    with pytest.raises(ValueError, match="got 3 columns, expected 2, one for each of its domains"):
        flow.adapt(np.ones((8, 3)))


def test_a_front_of_real_columns_leaves_them_as_they_are():
    assert table_front(domains=["real", "real"], standardize=False) == []
    assert [type(part) for part in table_front()] == [Standardize]


def test_one_inside_another_part_asks_for_rows_as_well():
    flow = Flow(Chain([OnColumns(Standardize(), [True, True, True])]))
    x = np.sort(table(64), axis=0).astype("float32")
    z = fitted(flow, x, batch_size=8).encode(x)
    np.testing.assert_allclose((z.mean(0), z.std(0)), ([0.0] * 3, [1.0] * 3), atol=1e-2)


# Frames


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    return pytest.importorskip(request.param)


def frame(library, x, names=NAMES):
    return library.DataFrame({name: x[:, i] for i, name in enumerate(names)})


def test_frames_in_and_frames_out(library, tmp_path):
    x = table(60)
    data = frame(library, x)
    flow = fitted(table_flow(), data, batch_size=20, validation_data=data)
    scores = flow.log_prob(data)
    np.testing.assert_array_equal(scores, flow.log_prob(x))
    np.testing.assert_array_equal(flow.log_prob(data[["share", "offset", "tiny"]]), scores)
    np.testing.assert_array_equal(flow.bits_per_dim(data), flow.bits_per_dim(x))
    assert flow.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(-scores.mean(), rel=1e-4)
    np.testing.assert_allclose(flow.predict(data, verbose=0), scores, atol=1e-3)

    flow.save(tmp_path / "table.keras")
    flow = keras.saving.load_model(tmp_path / "table.keras")
    np.testing.assert_allclose(flow.log_prob(data[["tiny", "share", "offset"]]), scores, atol=1e-4)
    samples, log_prob = flow.sample_and_log_prob(5, seed=0)
    for drawn in (samples, flow.sample(5, seed=0), flow.decode(flow.encode(data))):
        assert type(drawn) is library.DataFrame
        assert list(drawn.columns) == NAMES
    np.testing.assert_allclose(flow.log_prob(samples), log_prob, atol=1e-3)
    np.testing.assert_allclose(flow.decode(flow.encode(data)).to_numpy(), x, rtol=1e-4)
    flow.columns = None
    assert type(flow.sample(2)) is np.ndarray


def test_a_context_may_be_a_frame_as_well(library, tmp_path):
    x, context = table(60), table(60, seed=1)[:, :2]
    names, data = ["low", "high"], frame(library, x)
    given = frame(library, context, names)
    flow = zoo.nsf(context=2, layers=2, hidden=[4], bins=4)
    flow.compile(keras.optimizers.Adam(0.05))
    flow.fit(data, context=given, validation_data=(data, given), batch_size=20, verbose=0)
    scores = flow.log_prob(x, context)
    for asked in (flow, _saved_and_loaded(flow, tmp_path)):
        np.testing.assert_allclose(asked.log_prob(data, given[["high", "low"]]), scores, atol=1e-4)
    np.testing.assert_array_equal(
        flow.sample(2, given[["high", "low"]], seed=0), flow.sample(2, context, seed=0)
    )
    # The order is something that can be wrong.
    assert np.abs(flow.log_prob(x, context[:, ::-1]) - scores).max() > 1e-2
    told = flow.evaluate(data, context=given[["high", "low"]], verbose=0, return_dict=True)
    assert told["loss"] == pytest.approx(-scores.mean(), rel=1e-4)
    with pytest.raises(
        ValueError, match=r"context: got a frame with .*, expected the columns 'low', 'high'"
    ) as caught:
        flow.log_prob(data, frame(library, context, ["low", "hight"]))
    one_line(caught.value)


def _saved_and_loaded(flow, folder):
    flow.save(folder / "conditional.keras")
    return keras.saving.load_model(folder / "conditional.keras")


def test_a_table_that_is_refused_leaves_no_names_of_its_context(library):
    flow = zoo.nsf(context=2, layers=2, hidden=[4], bins=4)
    flow.compile(keras.optimizers.SGD(0.0))
    context = frame(library, table(60)[:, :2], ["low", "high"])
    with pytest.raises(ValueError, match="expected finite data"):
        flow.fit(np.full((60, 3), np.nan), context=context, verbose=0)
    assert flow.context_columns is None


def test_other_columns_are_named(library):
    x = table(30)
    flow = table_flow().adapt(frame(library, x))
    for names, message in (
        (["offset", "small", "share"], "with 'tiny' missing and 'small' in addition"),
        (["offset", "tiny"], "with 'share' missing"),
        ([*NAMES, "more"], "with none missing and 'more' in addition"),
    ):
        other = frame(library, np.concatenate([x, x], axis=1), names)
        for call in (flow.log_prob, flow.encode, flow.adapt):
            with pytest.raises(ValueError, match=message) as caught:
                call(other)
            one_line(caught.value)


def test_what_is_wrong_with_a_column_is_said_by_its_name(library):
    x = table(30)
    for column, entries, message in (
        (0, [1, 2, 3] * 10, "whole numbers in column 'offset', .*Add noise"),
        (0, [True, False] * 15, "whole numbers in column 'offset', .*Add noise"),
        (2, [0.5] * 30, "received column 'share': all 30 entries are 0"),
        (2, [0.5] * 4 + [None] + [0.25] * 25, "the first in row 4 of column 'share'"),
        (1, [0.5] * 4 + [-0.5] + [0.25] * 25, "got -0.5 in row 4 of column 'tiny'"),
        (0, ["a", "b", "c"] * 10, "got .* in column 'offset', expected numbers"),
    ):
        columns = {name: list(x[:, i]) for i, name in enumerate(NAMES)}
        columns[NAMES[column]] = entries
        flow = table_flow()
        with pytest.raises(ValueError, match=message) as caught:
            flow.adapt(library.DataFrame(columns))
        one_line(caught.value)
        assert flow.columns is None  # so that the next table may be another


def test_types_that_know_of_missing_entries():
    pandas = pytest.importorskip("pandas")
    x = table(30)
    data = frame(pandas, x).astype({"tiny": "Float64", "share": "float32"})
    flow = table_flow().adapt(data)
    assert np.isfinite(flow.log_prob(data)).all()
    data.loc[3, "tiny"] = pandas.NA
    with pytest.raises(ValueError, match="the first in row 3 of column 'tiny'"):
        flow.log_prob(data)


def test_names_given_twice_are_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="got 'a' more than once"):
        table_flow().adapt(pandas.DataFrame(table(9), columns=["a", "a", "b"]))


# What a strict reader found


def test_a_column_is_whole_only_if_all_rows_are():
    hours = np.r_[np.arange(1000.0), np.arange(1000) + 0.5][:, None] * np.ones((1, 2))
    fitted(Flow(Chain([Standardize(), ActNorm()])), hours, batch_size=500)
    with pytest.raises(ValueError, match="whole numbers in column 0"):
        fitted(Flow(Chain([Standardize(), ActNorm()])), np.floor(hours), batch_size=500)


def test_a_pointwise_layer_fitted_to_data_asks_for_rows_before_it_is_built():
    layer = Pointwise(MixtureOfLogistics(2), init="data")
    assert layer.rows_to_adapt == 10_000
    x = np.r_[np.zeros(100), np.full(100, 5.0)][:, None] + np.random.default_rng(0).normal(size=(200, 1))
    z = fitted(Flow(layer), x, batch_size=50, shuffle=False).encode(x)
    assert abs(z.mean()) < 0.2  # of the first 50 rows alone it would be above 2


def test_a_column_is_named_only_if_it_stands_where_it_stood():
    x = np.random.default_rng(0).normal(size=(100, 3))
    x[:, 0] = 2.5
    flow = Flow(Chain([Permute("reverse"), Standardize()]))
    frame = pytest.importorskip("pandas").DataFrame(x, columns=["a", "b", "c"])
    with pytest.raises(ValueError, match="received column 2: all 100 entries"):
        flow.adapt(frame)


def test_words_are_no_context_and_adapt_learns_names_too(library):
    flow = Flow(Coupling(MLP([4], context="required")))
    x = np.random.default_rng(0).normal(size=(8, 2))
    with pytest.raises(ValueError, match=r"context: got .* in column 'p', expected numbers") as caught:
        flow.adapt(x, library.DataFrame({"p": list("abcdefgh"), "q": list(x[:, 0])}))
    one_line(caught.value)
    assert flow.context_columns is None
    flow.adapt(x, frame(library, x, ["p", "q"]))
    assert flow.context_columns.names == ("p", "q")
