"""Base densities: formulas against SciPy's, draws against densities, context, files."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from flowkit import Flow
from flowkit.bijectors import Autoregressive, Scale, Shift
from flowkit.conditioners import MADE, MLP
from flowkit.contract import ContractError, Domain
from flowkit.distributions import (
    Distribution,
    Joint,
    LocationScale,
    Logistic,
    Mixture,
    MixtureOfFlows,
    Normal,
    StudentT,
    Uniform,
)
from flowkit.testing import check_distribution


def masked():
    return Autoregressive(MADE([8], context="required"), "affine")


EVERY = {
    "Normal": Normal,
    "Normal(learn)": lambda: Normal(learn=True),
    "Normal(bounded)": lambda: Normal(learn=True, min_scale=0.2),
    "Normal(conditioner)": lambda: Normal(conditioner=MLP([8])),
    "StudentT": StudentT,
    "StudentT(learn)": lambda: StudentT(3.0, learn=True),
    "StudentT(conditioner)": lambda: StudentT(conditioner=MLP([8])),
    "Logistic": Logistic,
    "Logistic(learn)": lambda: Logistic(learn=True),
    "Uniform": lambda: Uniform(-1.0, 3.0),
    "Mixture": lambda: Mixture(3),
    "Mixture(1)": lambda: Mixture(1),
    "Mixture(conditioner)": lambda: Mixture(2, conditioner=MLP([8])),
    "MixtureOfFlows": lambda: MixtureOfFlows([Shift(-2.0), Scale(0.5)], StudentT(5.0)),
    "MixtureOfFlows(context)": lambda: MixtureOfFlows([Shift(1.0), masked(), masked()]),
}
every = pytest.mark.parametrize("name", EVERY)


def context_for(distribution):
    return None if distribution.context == "none" else np.array([0.5, -1.0], "float32")


@pytest.mark.wide("name")
@pytest.mark.parametrize(("name", "event"), [("Normal", (1,)), *((name, (3,)) for name in EVERY)])
def test_draws_and_density_agree(name, event):
    distribution = EVERY[name]()
    report = check_distribution(EVERY[name], event_shape=event, context=context_for(distribution))
    refused = {"temperature": "kept: refused"} if name == "Uniform" else {}
    alone = {"rows": "not asked: no context"} if distribution.context == "none" else {}
    assert report == dict.fromkeys(report, "kept") | refused | alone
    assert len(report) == 9


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (Normal(), stats.norm()),
        (StudentT(2.5), stats.t(2.5)),
        (StudentT(1.0), stats.cauchy()),
        (Logistic(), stats.logistic()),
        (Uniform(-2.0, 1.0), stats.uniform(-2, 3)),
    ],
)
def test_the_formula_is_scipys(distribution, reference):
    z = np.array([[-1.7, 0.3], [0.0, 0.9], [0.99, -0.01]])
    found = ops.convert_to_numpy(distribution.log_prob(ops.convert_to_tensor(z, dtype="float32")))
    np.testing.assert_allclose(found, reference.logpdf(z).sum(-1), rtol=2e-6)


def test_far_tails_stay_finite():
    z = np.array([[1e18], [-1e18], [300.0]], "float32")
    for distribution, reference in ((StudentT(2.0), stats.t(2.0)), (Logistic(), stats.logistic())):
        found = ops.convert_to_numpy(distribution.log_prob(ops.convert_to_tensor(z)))
        # A few roundings, and one more of each logarithm and constant that is added.
        np.testing.assert_allclose(found, reference.logpdf(z.astype("float64"))[:, 0], rtol=8 * 2.0**-23)


def test_outside_its_box_a_uniform_density_is_0():
    found = ops.convert_to_numpy(Uniform().log_prob(ops.convert_to_tensor([[0.5, 1.5], [0.5, 0.5]])))
    assert found.tolist() == [-np.inf, 0.0]


@pytest.mark.parametrize("base", [Normal, functools.partial(Mixture, 2)])
def test_a_base_asks_its_network_with_a_context_for_each_sample(base):
    """Labels of a batch passed for one vector, of which all rows had their density."""
    x, flow = np.zeros((4, 2), "float32"), Flow(Shift(0.0), base(conditioner=MLP([4])))
    with pytest.raises(ContractError, match=r"vectors \(batch, k\).*received shape \(4,\).*one_hot"):
        flow.log_prob(x, context=np.zeros(4, "int32"))
    flow = Flow(Shift(0.0), base(conditioner=MLP([4])))
    with pytest.raises(
        ContractError, match=r"one vector for each sample, received .*\(4, 5, 3\).*embedding="
    ):
        flow.log_prob(x, context=np.zeros((4, 5, 3), "float32"))


# What the check is for: densities and draws that do not agree, one mistake each.


class Wrong(Normal):
    pass


class NotNormalised(Wrong):
    def standard_log_density(self, eps):
        return -0.5 * ops.square(eps)


class DrawsTooWide(Wrong):
    def standard_sample(self, shape, seed):
        return 1.05 * super().standard_sample(shape, seed)


class OneDrawForAllEntries(Wrong):
    def standard_sample(self, shape, seed):
        return ops.broadcast_to(super().standard_sample((shape[0], *(1,) * (len(shape) - 1)), seed), shape)


class ReadsItsBatch(Wrong):
    def log_prob(self, z, context=None):
        return super().log_prob(z, context) + 0.01 * ops.mean(z)


class AlwaysTheSame(Wrong):
    def standard_sample(self, shape, seed):
        return super().standard_sample(shape, 3)


class ForgetsAnArgument(StudentT):
    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "df"}


class Colder(Wrong):
    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        return super().sample(shape, temperature=1 / temperature, seed=seed, context=context)


class Underflows(Wrong):
    def standard_log_density(self, eps):
        return ops.log(ops.exp(-0.5 * ops.square(eps)) / np.sqrt(2 * np.pi))


class StopsItsDraws(Wrong):
    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        return ops.stop_gradient(super().sample(shape, temperature=temperature, seed=seed, context=context))


class TransposedInTheDraws(Distribution):
    """Covariance L L^T in the density, L^T L in the draws: nearly the same where L is nearly the identity."""

    def build(self, z_shape, context_shape=None):
        self.off = self.add_weight(shape=(), initializer="zeros", name="off")

    def log_prob(self, z, context=None):
        return Normal().log_prob(ops.stack([z[:, 0], z[:, 1] - self.off * z[:, 0]], axis=-1))

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        eps = temperature * keras.random.normal(shape, seed=seed)
        return ops.stack([eps[:, 0] + self.off * eps[:, 1], eps[:, 1]], axis=-1)


class HeardByTheFirst(Normal):
    """All rows are drawn for the context of the first."""

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        first = ops.repeat(context[:1], shape[0], axis=0)
        return super().sample(shape, temperature=temperature, seed=seed, context=first)


class Deaf(Distribution):
    context = "optional"

    def log_prob(self, z, context=None):
        return Normal().log_prob(z)

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        mean = 0.0 if context is None else ops.mean(context, axis=-1, keepdims=True)
        return mean + temperature * keras.random.normal(shape, seed=seed)


@pytest.mark.parametrize(
    ("make", "clause"),
    [
        (NotNormalised, "mass"),
        (DrawsTooWide, "draws"),
        (OneDrawForAllEntries, "draws"),
        (ReadsItsBatch, "batch"),
        (AlwaysTheSame, "seeds"),
        (lambda: ForgetsAnArgument(1.5), "saving"),
        (Colder, "temperature"),
        (Deaf, "draws"),
        (Underflows, "finite"),
        (lambda: StopsItsDraws(learn=True), "gradient"),
        (TransposedInTheDraws, "draws"),
        (lambda: HeardByTheFirst(conditioner=MLP([8])), "rows"),
    ],
)
def test_a_mistake_is_caught_by_the_clause_meant_for_it(make, clause):
    distribution = make()
    context = np.array([1.0, 1.0], "float32") if distribution.context != "none" else None
    with pytest.raises(ContractError, match=f"broke '{clause}'"):
        check_distribution(make, event_shape=(2,), context=context)


def test_a_density_on_a_circle_is_judged_within_it():
    report = check_distribution(Cosine(), draws=20_000)
    assert report["mass"] == report["draws"] == "kept"


def test_whole_numbers_have_no_volume():
    report = check_distribution(Die(), draws=1000)
    assert (
        report["mass"] == report["draws"] == "not asked: Domain.whole(0, 5) has no volume for a mass to be of"
    )


def test_a_log_density_too_low_for_its_numbers_may_be_infinite():
    report = check_distribution(Gumbel(), event_shape=(2,), draws=20_000)
    assert report["finite"] == report["mass"] == report["draws"] == "kept"


class Gumbel(LocationScale):
    """exp(-x - exp(-x)): its logarithm at -100 is 3e43 below 0."""

    def standard_log_density(self, eps):
        return -eps - ops.exp(-eps)

    def standard_sample(self, shape, seed):
        return -ops.log(-ops.log(keras.random.uniform(shape, 1e-6, 1 - 1e-6, seed=seed)))


class Die(Distribution):
    """The numbers from 0 to 5, all alike."""

    domain = Domain.whole(0, 5)

    def log_prob(self, z, context=None):
        return ops.sum(0 * z - np.log(6), axis=-1)

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        if temperature != 1:
            raise ValueError("expected temperature=1: there is no scale")
        return ops.floor(6 * keras.random.uniform(shape, seed=seed))


class Cosine(Distribution):
    """(1 + 0.8 cos x) / 2 pi for each angle, drawn by solving its distribution function."""

    domain = Domain.CIRCLE

    def log_prob(self, z, context=None):
        return ops.sum(ops.log1p(0.8 * ops.cos(z)) - np.log(2 * np.pi), axis=-1)

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        if temperature != 1:
            raise ValueError("expected temperature=1: there is no scale")
        x = turn = 2 * np.pi * keras.random.uniform(shape, seed=seed) - np.pi
        for _ in range(40):
            x = x - 0.5 * (x + 0.8 * ops.sin(x) - turn)
        return x


def joint():
    return Joint([Normal(conditioner=MLP([8])), Mixture(2), Normal(learn=True)], [[2], [0, 3], [1]])


def test_a_joint_density_is_that_of_its_parts_and_draws_agree():
    context = np.array([0.5, -1.0], "float32")
    report = check_distribution(joint, event_shape=(4,), context=context)
    assert report == dict.fromkeys(report, "kept")
    whole = joint()
    whole.build((None, 4), (None, 2))
    z = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(5, 4)).astype("float32"))
    given = ops.convert_to_tensor(np.tile(context, (5, 1)))
    parts = [
        part.log_prob(ops.take(z, np.array(some), axis=1), given if part.context == "required" else None)
        for part, some in zip(whole.parts, whole.places, strict=True)
    ]
    total = sum(ops.convert_to_numpy(part) for part in parts)
    np.testing.assert_allclose(ops.convert_to_numpy(whole.log_prob(z, given)), total, rtol=1e-5)
    assert not whole.reparameterized  # since a mixture is not
