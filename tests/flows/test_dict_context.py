"""A context of several tensors, a dict: through a flow, a chain, priors, a base, files and the checker."""

import keras
import numpy as np
import pytest
from keras import ops
from tolerance import PARITY, REREAD

from flowkit import Flow
from flowkit.bijectors import ActNorm, Chain, Coupling, MultiScale, Pointwise, Squeeze
from flowkit.contract import Bijector, BijectorSpec, Conditioner, ContractError
from flowkit.distributions import Mixture, Normal
from flowkit.testing import check_bijector, check_distribution, inputs
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines

SHAPES = {"a": (2,), "b": (3,)}
ROWS = 20


@keras.saving.register_keras_serializable("flowkit-tests")
class Reads(Conditioner):
    """A dense layer of x and of both parts of the context, beside each other or at each place."""

    def __init__(self, **kwargs):
        super().__init__(**{"context": "required", **kwargs})

    def build(self, x_shape, context_shape=None):
        sizes = [x_shape[-1], context_shape["a"][-1], context_shape["b"][-1]]
        self.hidden = keras.layers.Dense(8, activation="tanh", dtype=self.dtype_policy)
        self.hidden.build((None, sum(sizes)))
        self.last = keras.layers.Dense(self.features, dtype=self.dtype_policy)
        self.last.build((None, 8))

    def call(self, x, context=None):
        places = tuple(x.shape[1:-1])
        parts = [ops.cast(context[key], self.compute_dtype) for key in ("a", "b")]
        ones = ops.ones_like(x[..., :1])
        parts = [ones * ops.reshape(c, (-1, *(1,) * len(places), c.shape[-1])) for c in parts]
        return self.last(self.hidden(ops.concatenate([x, *parts], axis=-1)))

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.features)


@keras.saving.register_keras_serializable("flowkit-tests")
class ReadsIt(Conditioner):
    """A dense layer of a dict that is its input, for what is asked with the context alone."""

    def build(self, context_shape):
        self.dense = keras.layers.Dense(self.features, dtype=self.dtype_policy)
        self.dense.build((None, context_shape["a"][-1] + context_shape["b"][-1]))

    def call(self, given, context=None):
        return self.dense(ops.concatenate([given["a"], given["b"]], axis=-1))

    def compute_output_shape(self, context_shape):
        return (context_shape["a"][0], self.features)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(ROWS, 4)).astype("float32")


@pytest.fixture
def context():
    rng = np.random.default_rng(1)
    return {"a": rng.normal(size=(ROWS, 2)), "b": rng.normal(size=(ROWS, 3)).astype("float32")}


def rows(context, places):
    return {key: value[places] for key, value in context.items()}


def chain(backprop="stored"):
    steps = [ActNorm(), Coupling(Reads()), Coupling(Reads(), Affine("tanh"), swap=True)]
    return Chain([*steps, Pointwise(Affine("tanh"), ReadsIt())], backprop=backprop)


BASES = {
    "none": lambda: None,
    "normal": lambda: Normal(conditioner=ReadsIt()),
    "mixture": lambda: Mixture(2, conditioner=ReadsIt()),
}


@pytest.mark.wide
@pytest.mark.parametrize(
    ("base", "backprop"), [("none", "stored"), ("normal", "recompute"), ("mixture", "reversible")]
)
def test_end_to_end(base, backprop, x, context, tmp_path):
    flow = Flow(chain(backprop), BASES[base]())
    flow.compile(keras.optimizers.Adam(0.01))
    history = flow.fit(x, context=context, validation_data=(x, context), epochs=3, batch_size=10, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    log_prob = flow.log_prob(x, context)
    result = flow.evaluate(x, context=context, verbose=0, return_dict=True)
    np.testing.assert_allclose(result["loss"], -log_prob.mean(), rtol=10 * PARITY)
    result = flow.evaluate({"x": x, "context": context}, verbose=0, return_dict=True)
    np.testing.assert_allclose(result["loss"], -log_prob.mean(), rtol=10 * PARITY)
    for size in (1, 7):
        part = flow.log_prob(x, context, batch_size=size)
        np.testing.assert_allclose(part, log_prob, rtol=10 * PARITY, atol=10 * PARITY)
    few = rows(context, slice(3))
    samples, density = flow.sample_and_log_prob(2, few, seed=0)
    assert samples.shape == (2, 3, 4)
    np.testing.assert_allclose(density[1], flow.log_prob(samples[1], few), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(flow.decode(flow.encode(x, context), context), x, atol=1e-3)
    flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_allclose(again.log_prob(x, context), log_prob, rtol=REREAD)
    np.testing.assert_allclose(
        again.sample(2, few, seed=0), flow.sample(2, few, seed=0), rtol=REREAD, atol=REREAD
    )


def test_a_multi_scale_flow_hands_it_to_scales_and_priors(context, perturb):
    image = np.random.default_rng(0).normal(size=(ROWS, 4, 4, 1)).astype("float32")
    scale = Chain([Squeeze(), Coupling(Reads())])
    flow = Flow(MultiScale([scale, Squeeze()], priors=[Reads()]))
    flow.build({"x": (None, 4, 4, 1), "context": {"a": (None, 2), "b": (None, 3)}})
    perturb(flow, scale=0.2)
    one = flow.log_prob(image, context)
    order = np.arange(ROWS)[::-1]
    other = flow.log_prob(image[order], rows(context, order))
    np.testing.assert_allclose(other, one[order], rtol=10 * PARITY, atol=10 * PARITY)
    assert np.abs(flow.log_prob(image, rows(context, order)) - one).max() > 1e-3
    assert flow.sample(2, rows(context, slice(3))).shape == (2, 3, 4, 4, 1)


def test_parts_of_other_lengths_are_refused(x, context):
    flow = Flow(chain()).adapt(x, context)
    with pytest.raises(ContractError, match="one row for each of 20 samples, received 3 and 20 rows"):
        flow.log_prob(x, context | {"a": context["a"][:3]})


# The checker


@pytest.mark.one_engine
@pytest.mark.long
def test_every_clause_takes_a_dict():
    report = check_bijector(
        lambda: Coupling(Reads(), Affine("tanh")), event_shapes=[(4,)], context=SHAPES, examples=2
    )
    verdicts = {result.clause: result.verdict for result in report.results}
    assert {"broken", "waived"}.isdisjoint(verdicts.values())
    asked = {"context", "batch independence", "empty batch", "log-det", "output gradient", "log-det gradient"}
    asked |= {"saving", "shape inference", "compiled", "mixed precision", "finite"}
    assert {verdicts[clause] for clause in asked} == {"kept"}


@keras.saving.register_keras_serializable("flowkit-tests")
class ByOnePart(Bijector):
    """A shift that leaves "b" out of the way back."""

    spec = BijectorSpec(context="required", log_det="zero")

    def _forward(self, x, context):
        return x + context["a"][:, :1] + context["b"][:, :1], 0.0

    def _inverse(self, z, context):
        return z - context["a"][:, :1], 0.0


@pytest.mark.one_engine
def test_a_mistake_is_found_and_its_line_names_the_dict():
    with pytest.raises(ContractError) as caught:
        check_bijector(ByOnePart(), event_shapes=[(2,)], context=SHAPES, examples=3)
    assert "round trip" in str(caught.value)
    assert "context={'a': (2,), 'b': (3,)}" in str(caught.value)


@pytest.mark.one_engine
def test_a_base_is_held_to_its_promises_with_a_dict():
    one = {"a": np.array([0.5, -1.0], "float32"), "b": np.ones(3, "float32")}
    for kind in ("normal", "mixture"):
        report = check_distribution(BASES[kind], context=one, draws=50_000)
        assert report == dict.fromkeys(report, "kept")


@pytest.mark.one_engine
@pytest.mark.parametrize("wrong", ["a", {}, {"a": 2}, {"a": ("x",)}, 3])
def test_what_describes_no_context_is_refused(wrong):
    with pytest.raises(TypeError, match=r"such as .*, a dict of shapes, or a function"):
        inputs.described(wrong)
