"""One call for each family of vectors: its flow scores, draws, conditions, is saved, and says what it refuses."""

import pickle
import re

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import zoo
from flowkit.bijectors import Pointwise
from flowkit.contract import ContractError
from flowkit.distributions import Mixture, StudentT
from flowkit.transforms import Affine, MixtureOfLogistics
from flowkit.zoo.family import each_domain

SMALL = {"features": 3, "layers": 2, "hidden": [8]}
MORE = {
    "nsf": {"bins": 4},
    "nsf_autoregressive": {"bins": 4},
    "naf": {"units": 4},
    "bnaf": {"units": 3},
    "umnn": {"units": 4, "nodes": 9},
    "bernstein": {"degree": 4},
    "sos": {"terms": 2, "degree": 2},
    "gaussianization": {"components": 4},
    "residual": {"lipschitz": 0.5},
    "circular_nsf": {"bins": 4},
}
ONE_FEATURE = [name for name in zoo.VECTORS if name not in ("nsf", "realnvp", "nice", "circular_nsf")]


def small(family, **options):
    return zoo.VECTORS[family](**{**SMALL, **MORE.get(family, {}), **options})


def rows(family, features=3, count=64):
    """Data far from 0, or angles."""
    x = np.random.default_rng(1).normal(size=(count, features)).astype("float32")
    return x if family == "circular_nsf" else 3 * x + 20


def contexts(count=64, size=2):
    return np.random.default_rng(2).normal(size=(count, size)).astype("float32")


@pytest.mark.parametrize("family", zoo.ARCHITECTURES)
def test_arguments_go_by_name(family):
    made = zoo.ARCHITECTURES[family]
    with pytest.raises(TypeError, match=rf"^{family}\(\) got an unexpected keyword argument 'colour'"):
        made(colour=4)
    with pytest.raises(TypeError, match=rf"^{family}\(\) takes 0 positional arguments but 1 was given"):
        made(4)
    assert pickle.loads(pickle.dumps(made)) is made


@pytest.mark.parametrize("family", zoo.VECTORS)
class TestEveryFamily:
    def test_scores_draws_and_is_saved_given_a_context(self, family, perturb, tmp_path):
        x, c = rows(family)[:8], contexts(8)
        flow = small(family, context=2)
        flow.adapt(rows(family), contexts())
        perturb(flow)
        z, log_det = flow.bijector(x, context=c)
        back, log_det_back = flow.bijector.inverse(z, context=c)
        error = ops.convert_to_numpy(back) - x
        if family == "circular_nsf":  # -pi is pi
            error = np.arctan2(np.sin(error), np.cos(error))
        assert np.abs(error).max() < 1e-3
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (log_det, -log_det_back)), atol=1e-3)
        given = {"x": x, "context": c}
        scores = ops.convert_to_numpy(flow(given))
        assert np.isfinite(scores).all()
        other = ops.convert_to_numpy(flow({"x": x, "context": -c}))
        assert np.abs(scores - other).max() > 1e-3  # the context is heard
        flow.save(tmp_path / "flow.keras")
        again = keras.saving.load_model(tmp_path / "flow.keras")
        np.testing.assert_array_equal(ops.convert_to_numpy(again(given)), scores)

    def test_fits_without_a_context_and_scores_its_own_draws(self, family):
        x = rows(family)
        flow = small(family, features=None)
        flow.compile(keras.optimizers.Adam(1e-3))
        flow.fit(x, batch_size=32, verbose=0)
        samples, log_q = flow.sample_and_log_prob(16, seed=0)
        assert samples.shape == (16, 3)
        np.testing.assert_allclose(flow.log_prob(samples), log_q, atol=2e-3)

    def test_an_embedding_without_a_context_is_refused(self, family):
        with pytest.raises(ValueError, match=f"{family}'s context: got 0 with an embedding"):
            small(family, embedding=keras.layers.Dense(2))


@pytest.mark.parametrize("family", ONE_FEATURE)
def test_densities_of_one_number_given_others(family):
    flow = small(family, features=1, context=2)
    y = rows(family, features=1)
    flow.adapt(y, contexts())
    assert np.isfinite(ops.convert_to_numpy(flow({"x": y, "context": contexts()}))).all()


@pytest.mark.parametrize(
    ("family", "take"),
    [("nsf", "nsf_autoregressive"), ("realnvp", "maf"), ("nice", "maf"), ("circular_nsf", "Pointwise")],
)
def test_couplings_of_one_number_say_what_to_take(family, take):
    with pytest.raises(ValueError, match=re.escape("For one feature take ") + f".*{take}"):
        small(family, features=1)
    with pytest.raises(ContractError, match="Pointwise"):
        small(family, features=None).adapt(rows(family, features=1))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: small("nsf", linear="svd"), "nsf's linear: got 'svd', expected one of 'lu', 'permutation'"),
        (
            lambda: small("maf", hidden=[8, 9], residual=True),
            "maf's hidden: got [8, 9], expected the same width for each block, for residual=True",
        ),
        (
            lambda: small("nsf", hidden=[9], residual=True, domains=["circular", "real", "real"]),
            "residual: got True and circular columns",
        ),
        (lambda: Pointwise(Affine(), init="data"), "expected one with `fitted` for init='data'"),
        (lambda: small("nsf", domains={"income": "positive"}), "places of columns, from 0."),
        (
            lambda: small("nsf", features=["a", "b"], domains={"c": "positive"}),
            "got the column 'c', expected columns among 'a', 'b'",
        ),
    ],
)
def test_what_a_family_refuses(call, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        call()


def test_a_base_and_an_embedding_are_handed_on():
    flow = small("realnvp", context=5, base=StudentT(), embedding=keras.layers.Dense(2))
    flow.adapt(rows("realnvp"), contexts(size=5))
    assert flow.log_prob(rows("realnvp"), context=contexts(size=5)).shape == (64,)
    assert isinstance(small("maf", base=Mixture(2)).base, Mixture)
    labels = small("nsf", context=1, embedding=keras.layers.Embedding(4, 2))
    assert labels.num_classes == 4


def test_contexts_far_from_0_are_read_as_others_are(perturb):
    far = 1e4 + 1e3 * contexts()
    flow = small("nsf", context=2).adapt(rows("nsf"), far)
    perturb(flow.bijector)
    scores = flow.log_prob(rows("nsf"), context=far)
    again = small("nsf", context=2).adapt(rows("nsf"), contexts())
    again.bijector.set_weights(flow.bijector.get_weights())
    np.testing.assert_allclose(again.log_prob(rows("nsf"), context=contexts()), scores, atol=1e-3)
    turned = flow.log_prob(rows("nsf"), context=far[::-1].copy())
    assert np.abs(turned - scores).max() > 0.1  # the context is heard
    for other in (np.zeros(64, int), contexts(size=3), {"a": far}):
        with pytest.raises(ContractError, match=r"broke 'context'.*(embedding=|received shape)"):
            flow.log_prob(rows("nsf"), context=other)


def test_a_model_as_the_embedding_says_the_shapes_of_its_inputs():
    series, place = keras.Input((6, 2), name="series"), keras.Input((), dtype="int32", name="place")
    read = [keras.layers.Flatten()(series), keras.layers.Embedding(3, 2)(place)]
    reader = keras.Model({"series": series, "place": place}, keras.layers.Concatenate()(read))
    flow = small("maf", features=1, context=1, embedding=reader)
    assert flow.built
    rng = np.random.default_rng(0)
    given = {"series": rng.normal(size=(64, 6, 2)), "place": rng.integers(0, 3, 64)}
    flow.adapt(rows("maf", features=1), given)
    few = {name: part[:2] for name, part in given.items()}
    assert flow.sample(5, few, seed=0).shape == (5, 2, 1)
    steps = keras.Sequential([keras.Input((6, 2)), keras.layers.Flatten()])
    assert small("nsf", context=1, embedding=steps).built


def test_networks_may_be_made_of_blocks_and_gated_by_the_context(perturb):
    sizes = {"hidden": [9, 9], "context": 2}
    masked, plain = small("maf", residual=True, **sizes), small("maf", **sizes)
    assert masked.count_params() - plain.count_params() == 2 * (3 * (9 * 9 + 9))
    flow, context = perturb(small("nsf", residual=True, **sizes)), contexts()
    z = np.random.default_rng(0).normal(size=rows("nsf").shape).astype("float32")  # within the splines
    x = flow.decode(z, context=context)
    np.testing.assert_allclose(flow.encode(x, context=context), z, rtol=1e-4, atol=1e-3)
    assert np.abs(flow.log_prob(x, context) - flow.log_prob(x, context + 1)).max() > 1e-3
    assert small("nsf", hidden=[9], residual=True).count_params() > 0  # no gates without a context


def test_the_cheap_direction_can_be_that_of_samples():
    spec = small("planar", direction="sampling").bijector.spec
    assert (spec.forward, spec.inverse) == ("iterative", "analytic")


def test_gaussianization_is_fitted_by_adapt_alone():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 4000)
    x = np.stack([np.cos(angle), 5 + 3 * np.sin(angle)], axis=1) + rng.normal(0, 0.1, (4000, 2))
    train, test = np.split(x.astype("float32"), 2)
    flow = zoo.gaussianization(layers=4, components=12).adapt(train)
    z = flow.encode(test)
    error = np.sqrt(2 / len(train))  # of the difference of two means; of two variances sqrt(2) times that
    assert np.abs(z.mean(0)).max() < 4 * error
    assert np.abs(np.cov(z.T) - np.eye(2)).max() < 4 * np.sqrt(2) * error
    center, spread = train.mean(0), np.cov(train.T)
    away = test - center
    square = np.einsum("ni,ij,nj->n", away, np.linalg.inv(spread), away)
    gaussian = -0.5 * (square + np.linalg.slogdet(2 * np.pi * spread)[1])
    assert flow.log_prob(test).mean() > gaussian.mean() + 0.3


def test_a_mixture_fitted_to_normal_rows_is_near_to_the_identity():
    """Tails too: a layer that stretched them would, with others, carry outliers away."""
    x = np.random.default_rng(0).normal(size=(2000, 1))
    layer = Pointwise(MixtureOfLogistics(16), init="data").adapt(x)
    at = np.linspace(-6, 6, 25, dtype="float32")[:, None]
    z = ops.convert_to_numpy(layer(at)[0])
    assert np.abs(z - at)[np.abs(at) <= 2].max() < 0.25
    assert np.abs(z).max() < 8


def test_features_of_other_domains_are_taken_by_name_and_drawn_inside():
    rng = np.random.default_rng(0)
    x = np.stack([rng.lognormal(8.0, 1.0, 64), rng.normal(1e5, 1.0, 64), rng.beta(2.0, 2.0, 64)], axis=1)
    flow = small("nsf", domains={0: "positive", 2: (0.0, 1.0)})
    flow.adapt(x)
    assert np.isfinite(flow.log_prob(x)).all()
    drawn = flow.sample(50, seed=0, temperature=3.0)
    assert (drawn[:, 0] > 0).all()
    assert ((drawn[:, 2] > 0) & (drawn[:, 2] < 1)).all()
    assert np.isfinite(
        flow.log_prob(np.array([[1e-60, 1e5, 1 - 1e-12], [1.5, 1e5, 1e-12]]))
    ).all()  # inside by a bit
    for row, column in (([-1.0, 1e5, 0.5], 0), ([1.0, 1e5, 1.0], 2)):
        with pytest.raises(ValueError, match=f"in row 1 of column {column}"):
            flow.log_prob(np.array([[1.0, 1e5, 0.5], row]))


def test_domains_use_names_of_columns_or_places_as_numbers_or_as_text():
    given = small("nsf", domains={"0": "positive"}).bijector.parts[0].get_config()
    assert given["domains"] == small("nsf", domains={0: "positive"}).bijector.parts[0].get_config()["domains"]
    named = small("nsf", features=["income", "2020", 7], domains={"income": "positive", 7: (0, 1)})
    domains = named.bijector.parts[0].get_config()["domains"]
    assert domains == [[0.0, None], [None, None], [0.0, 1.0]]
    assert named.columns.names == ("income", "2020", 7)
    assert each_domain({"2020": "positive", "0": (0, 1)}, 2, ["2019", "2020"]) == [(0, 1), "positive"]


@pytest.mark.parametrize("features", [1, 200])
def test_few_features_and_many_stay_finite_and_come_back(features):
    x = np.random.default_rng(0).standard_t(2.0, (800, features)).astype("float32")
    keras.utils.set_random_seed(0)
    flow = zoo.VECTORS["nsf_autoregressive" if features == 1 else "nsf"](layers=4, hidden=[32])
    flow.compile(keras.optimizers.Adam(1e-3))
    flow.fit(x[:600], batch_size=100, verbose=0)
    assert np.isfinite(flow.log_prob(x[600:])).all()
    assert np.isfinite(flow.sample(50, seed=0)).all()
    assert flow.round_trip_error(x[600:]).max() < 1e-3


@pytest.mark.long
def test_deep_flows_of_heavy_tails_can_be_undone():
    """With scales of up to e^2 in each of 32 layers nothing would be left of rows far out: errors of 1e13 were seen."""
    x = np.random.default_rng(0).standard_t(2.0, (20_000, 19)).astype("float32")
    keras.utils.set_random_seed(0)
    flow = zoo.realnvp(layers=32, hidden=[32])
    flow.compile(keras.optimizers.Adam(2e-3))
    flow.fit(x, batch_size=200, verbose=0)
    assert flow.round_trip_error(x).max() < 1e-3
