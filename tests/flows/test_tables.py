"""Tables: what a flow adapts to, what it refuses by name, and frames in and out."""

import keras
import numpy as np
import pytest
from small_flows import Rows, one_line

from flowkit import Flow, zoo
from flowkit.bijectors import ActNorm, Chain, Coupling, OnColumns, Permute, Pointwise, Standardize
from flowkit.conditioners import MLP
from flowkit.transforms import MixtureOfLogistics
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


X = np.sort(table(64), axis=0).astype("float32")
ROWS = {  # what is passed to fit -> the rows that are looked at
    "arrays": (lambda: X, {"batch_size": 8, "steps_per_epoch": 1}, X),
    "a split": (lambda: X, {"batch_size": 12, "validation_split": 0.25}, X[:48]),
    "data set": (lambda: Rows({"x": X}), {}, X),
    "generator": (lambda: (Rows({"x": X})[i] for i in range(8)), {}, X[:8]),
}


@pytest.mark.two_engines
@pytest.mark.parametrize("kind", ROWS)
def test_fit_adapts_to_all_rows_that_it_may_look_at(kind):
    data, options, seen = ROWS[kind]
    for layer in (Standardize(), OnColumns(Standardize(), [True, True, True])):
        z = fitted(Flow(Chain([layer])), data(), **options).encode(seen)
        np.testing.assert_allclose((z.mean(0), z.std(0)), ([0.0] * 3, [1.0] * 3), atol=1e-2)


def test_of_many_rows_fit_draws_the_same_10_000_each_time():
    x = np.sort(table(12_000), axis=0).astype("float32")
    one, other = (
        mean(fitted(Flow(Chain([Standardize()])), x, batch_size=size, steps_per_epoch=1))
        for size in (4000, 12_000)
    )
    np.testing.assert_allclose(one, x.mean(0, dtype="float64"), rtol=0.02)
    np.testing.assert_array_equal(one, other)


def test_a_flow_that_asks_for_no_rows_has_its_first_batch():
    x = np.sort(table(64), axis=0).astype("float32")
    flow = fitted(Flow(Chain([ActNorm()])), x, batch_size=8)
    shift = keras.ops.convert_to_numpy(flow.bijector.parts[0].shift)
    np.testing.assert_allclose(-shift, x[:8].mean(0), rtol=1e-5)


# What is refused


WHOLE = "whole numbers in column 0, .*Add noise.*or leave them out"
HALVES = np.r_[np.arange(25.0), np.arange(25) + 0.5]  # of which the first rows alone are whole
WRONG = [  # a column, its entries by row, and the message with the column's place, and with its name
    (0, dict(enumerate(np.floor(HALVES))), WHOLE),
    (2, dict.fromkeys(range(50), 0.5), "received column 2: all 50 entries are 0"),
    (2, {7: np.nan}, "got 1 NaN or infinite entries of 150, the first in row 7 of column 2, .*Drop"),
    (1, {9: -1.0}, r"got -1 in row 9 of column 1, expected data in Domain\.POSITIVE\. Bring"),
    (2, {3: 1.5}, r"got 1\.5 in row 3 of column 2, expected data in Domain\.UNIT_INTERVAL\. Bring"),
]


@pytest.mark.parametrize(("column", "entries", "message"), WRONG)
@pytest.mark.parametrize("call", ["fit", "adapt"])
def test_what_is_wrong_with_a_column_is_said_by_its_place_or_name(call, column, entries, message):
    x = table(50)
    x[list(entries), column] = list(entries.values())
    libraries = [pytest.importorskip(name) for name in ("pandas", "polars")]
    for data in (x, *(frame(library, x) for library in libraries)):
        flow = table_flow()
        flow.compile("adam")
        named = message if data is x else message.replace(f"column {column}", f"column '{NAMES[column]}'")
        with pytest.raises(ValueError, match=named) as caught:
            getattr(flow, call)(data)
        one_line(caught.value)
        assert flow.columns is None  # so that the next table may be another


def test_a_column_is_whole_only_if_all_rows_are():
    x = table(50)
    x[:, 0] = HALVES
    fitted(table_flow(), x, batch_size=25, shuffle=False)


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
    with pytest.raises(ValueError, match="got 3 columns, expected 2, one for each of its domains"):
        zoo.nsf(domains=["real", "positive"], layers=1, hidden=[4]).adapt(np.ones((8, 3)))
    assert table_front(domains=["real", "real"], standardize=False) == []


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


def test_entries_that_are_no_numbers_and_names_given_twice_are_refused(library):
    x = table(30)
    flow = Flow(Coupling(MLP([4], context="required")))
    words = library.DataFrame({"p": list("abcde") * 6, "q": list(x[:, 0])})
    for call in (lambda: table_flow().adapt(words), lambda: flow.adapt(x, words)):
        with pytest.raises(ValueError, match=r"got .* in column 'p', expected numbers") as caught:
            call()
        one_line(caught.value)
    for name, entries, message in (
        ("offset", [True, False] * 15, "whole numbers in column 'offset'"),
        ("share", [0.5] * 4 + [None] + [0.25] * 25, "the first in row 4 of column 'share'"),
    ):
        columns = {other: list(x[:, i]) for i, other in enumerate(NAMES)} | {name: entries}
        with pytest.raises(ValueError, match=message):
            table_flow().adapt(library.DataFrame(columns))
    with pytest.raises(ValueError, match="expected finite data"):
        flow.adapt(x * np.nan, frame(library, x, ["p", "q", "r"]))
    assert flow.context_columns is None
    flow.adapt(x, frame(library, x, ["p", "q", "r"]))
    assert flow.context_columns.names == ("p", "q", "r")
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="got 'a' more than once"):
        table_flow().adapt(pandas.DataFrame(x, columns=["a", "a", "b"]))


def test_types_that_know_of_missing_entries():
    pandas = pytest.importorskip("pandas")
    x = table(30)
    data = frame(pandas, x).astype({"tiny": "Float64", "share": "float32"})
    flow = table_flow().adapt(data)
    assert np.isfinite(flow.log_prob(data)).all()
    data.loc[3, "tiny"] = pandas.NA
    with pytest.raises(ValueError, match="the first in row 3 of column 'tiny'"):
        flow.log_prob(data)


# What a strict reader found


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
