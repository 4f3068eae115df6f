"""One network that reads the context, once for each call, and what the parts of a flow see of its answer."""

import keras
import numpy as np
import pytest
from keras import ops
from tolerance import PARITY, REREAD

from flowkit import Flow, LabelledFlow
from flowkit.bijectors import ActNorm, Chain, Coupling, MultiScale, Repeat, Shift, Squeeze
from flowkit.conditioners import MLP, TopPrior
from flowkit.contract import ContractError
from flowkit.data.dequantize import Dequantize
from flowkit.distributions import Normal
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines

ROWS = 20


@keras.saving.register_keras_serializable("flowkit-tests")
class Counted(keras.layers.Layer):
    """tanh(context W), which counts its calls and knows how many rows each had."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units, self.dense, self.seen = units, keras.layers.Dense(units, activation="tanh"), []

    def build(self, context_shape):
        self.dense.build(context_shape)

    def call(self, context):
        self.seen.append(context.shape[0])
        return self.dense(context)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("flowkit-tests")
class Joined(keras.layers.Layer):
    """Numbers "a" and labels "b" of a dict in one vector; Keras builds what is inside at the first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table, self.dense = keras.layers.Embedding(5, 3), keras.layers.Dense(4)

    def call(self, context):
        return self.dense(ops.concatenate([context["a"], self.table(context["b"])], axis=-1))


def conditional(embedding, *, base=None, backprop="stored"):
    steps = [
        ActNorm(),
        Coupling(MLP([8], context="required")),
        Coupling(MLP([8], context="required"), Affine("tanh"), swap=True),
    ]
    return Flow(Chain(steps, backprop=backprop), base, embedding=embedding)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(ROWS, 4)).astype("float32")


@pytest.fixture
def numbers():
    return np.random.default_rng(1).normal(size=(ROWS, 2)).astype("float32")


@pytest.fixture
def labels():
    return np.arange(ROWS) % 5


@pytest.fixture
def flow(perturb):
    flow = conditional(Counted(), base=Normal(conditioner=MLP([8])))
    flow.build({"x": (None, 4), "context": (None, 2)})
    perturb(flow, scale=0.3)
    flow.embedding.seen.clear()
    return flow


def functional():
    a, b = keras.Input((2,), name="a"), keras.Input((), dtype="int32", name="b")
    joined = keras.layers.Concatenate()([a, keras.layers.Embedding(5, 3)(b)])
    return keras.Model({"a": a, "b": b}, keras.layers.Dense(4)(joined))


KINDS = {
    "layer": (Counted, "numbers"),
    "table": (lambda: keras.layers.Embedding(5, 3), "labels"),
    "dict, by a layer": (Joined, "both"),
    "dict, by a model": (functional, "both"),
}


def given(kind, numbers, labels):
    return {"numbers": numbers, "labels": labels, "both": {"a": numbers, "b": labels}}[kind]


def first(context, count):
    return {k: v[:count] for k, v in context.items()} if isinstance(context, dict) else context[:count]


# Any layer or model, trained and saved


@pytest.mark.wide
@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer")
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_trained_counted_and_saved(kind, x, numbers, labels, tmp_path):
    make, what = KINDS[kind]
    context = given(what, numbers, labels)
    flow = conditional(make(), base=Normal(conditioner=MLP([8])))
    flow.compile(keras.optimizers.Adam(0.01))
    flow.adapt(x, context)
    assert {id(w) for w in flow.embedding.weights} <= {id(w) for w in flow.trainable_weights}
    before = [ops.convert_to_numpy(w) for w in flow.embedding.trainable_weights]
    # At the first step all gradients of the embedding are 0, since the networks' last layers are.
    history = flow.fit(x, context=context, epochs=3, batch_size=10, verbose=0).history
    for old, new in zip(before, flow.embedding.trainable_weights, strict=True):
        assert (old != ops.convert_to_numpy(new)).any()
    assert history["loss"][-1] < history["loss"][0]
    flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_allclose(again.log_prob(x, context), flow.log_prob(x, context), rtol=REREAD)
    few = first(context, 3)
    np.testing.assert_array_equal(again.sample(2, few, seed=0), flow.sample(2, few, seed=0))


def test_the_parts_see_its_answer_alone(flow, x, numbers):
    plain = conditional(None, base=Normal(conditioner=MLP([8])))
    plain.build({"x": (None, 4), "context": (None, 3)})
    plain.bijector.set_weights(flow.bijector.get_weights())
    plain.base.set_weights(flow.base.get_weights())
    given = ops.convert_to_tensor(numbers)
    answer = ops.convert_to_numpy(flow.embedding(given))
    np.testing.assert_array_equal(ops.convert_to_numpy(flow.embed(given)), answer)
    assert plain.embed(given) is given
    np.testing.assert_allclose(flow.log_prob(x, numbers), plain.log_prob(x, answer), rtol=PARITY, atol=PARITY)
    tensors = {"x": ops.convert_to_tensor(x), "context": ops.convert_to_tensor(numbers)}
    found = ops.convert_to_numpy(ops.stop_gradient(flow(tensors)))
    np.testing.assert_allclose(found, flow.log_prob(x, numbers), rtol=PARITY, atol=PARITY)


@pytest.mark.one_engine
def test_a_flow_of_a_file_that_knows_of_no_embedding():
    config = Flow(Shift(0.0)).get_config()
    del config["embedding"]
    assert Flow.from_config(config).embedding is None


# Once for each call. Compiled engines run its code once for each shape, however often they run it.


def test_it_is_asked_once_for_each_call(flow, x, numbers):
    if keras.backend.backend() != "torch":
        pytest.skip("calls are counted where they are eager")
    seen = flow.embedding.seen

    def rows(call):
        seen.clear()
        call()
        return list(seen)

    assert rows(lambda: flow.log_prob(x, numbers)) == [ROWS]
    assert rows(lambda: flow.log_prob(x, numbers, batch_size=10)) == [10, 10]
    assert rows(lambda: flow.encode(x, numbers, check="raise")) == [ROWS]
    assert rows(lambda: flow.decode(x, numbers, check="raise")) == [ROWS]
    assert rows(lambda: flow.round_trip_error(x, numbers)) == [ROWS]
    # Not once for each of n * b rows, nor for each block of latents, nor for the density of the samples.
    assert rows(lambda: flow.sample(50, numbers[:3], check="raise")) == [3]
    assert rows(lambda: flow.sample(50, numbers[:3], batch_size=10)) == [3]
    assert rows(lambda: flow.sample_and_log_prob(50, numbers[:3])) == [3]
    flow.compile("adam")
    assert rows(lambda: flow.train_on_batch({"x": x, "context": numbers})) == [ROWS]
    assert rows(lambda: flow.evaluate(x, context=numbers, batch_size=5, verbose=0)) == [5] * 4


def test_several_draws_of_noise_ask_it_once(numbers):
    if keras.backend.backend() != "torch":
        pytest.skip("calls are counted where they are eager")
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 1, 1, 4), dtype="uint8")
    flow = conditional(Counted())
    flow.dequantize = Dequantize()
    flow.adapt(images, numbers)
    flow.embedding.seen.clear()
    flow.bits_per_dim(images, numbers, samples=4)
    assert flow.embedding.seen == [ROWS]


# What comes out


def test_samples_are_those_that_each_row_gives_alone(flow, numbers):
    """Row j of every draw belongs to context j, and latents to the seed and the place of a draw among all."""
    cold = flow.sample(4, numbers[:3], temperature=0.0)
    for j in range(3):
        alone = flow.sample(4, numbers[j : j + 1], temperature=0.0)
        np.testing.assert_allclose(cold[:, j : j + 1], alone, rtol=10 * PARITY, atol=10 * PARITY)
    together = flow.sample(4, numbers[:3], seed=3)
    for j in range(3):
        alone = flow.sample(12, numbers[j : j + 1], seed=3)[j::3, 0]
        np.testing.assert_allclose(together[:, j], alone, rtol=10 * PARITY, atol=10 * PARITY)


@pytest.mark.one_engine
def test_an_optional_context_may_be_left_out(x, numbers, perturb):
    flow = Flow(Coupling(MLP([8], context="optional")), embedding=Counted())
    flow.build({"x": (None, 4), "context": (None, 2)})
    perturb(flow, scale=0.3)
    assert flow.log_prob(x).shape == (ROWS,)
    assert np.abs(flow.log_prob(x) - flow.log_prob(x, numbers)).max() > 1e-3


@pytest.mark.one_engine
def test_a_classifier_beside_it_has_the_labels_themselves(labels):
    image = np.random.default_rng(0).normal(size=(ROWS, 4, 4, 1)).astype("float32")
    top = Vectors()
    flow = LabelledFlow(
        MultiScale([Squeeze(), Squeeze()], top_prior=top),
        embedding=keras.layers.Embedding(5, 3),
        label_weight=1.0,
    )
    assert flow.num_classes == 5
    flow.compile("adam")
    flow.fit(image, context=labels, epochs=1, batch_size=10, verbose=0)
    assert flow.label_log_prob(image).shape == (ROWS, 5)
    assert np.isfinite(flow.log_prob(image, labels)).all()


class Vectors(TopPrior):
    """A top prior that adds what a network makes of a vector."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.context = "required"

    def build(self, z_shape, context_shape=None):
        super().build(z_shape)
        self.dense = keras.layers.Dense(2 * z_shape[-1], kernel_initializer="zeros")
        self.dense.build(context_shape)

    def call(self, z, context=None):
        h = self.dense(context)
        return super().call(z) + ops.reshape(h, (-1, 1, 1, h.shape[-1]))


# What is refused


@pytest.mark.one_engine
def test_what_nobody_reads_is_refused():
    with pytest.raises(ValueError, match=r"reads the output of the embedding 'dense.*context='required'"):
        Flow(Shift(0.0), embedding=keras.layers.Dense(3))


@pytest.mark.one_engine
@pytest.mark.parametrize("arrange", [lambda layer: layer, lambda layer: Repeat(layer, 2)])
def test_a_layer_shared_with_the_bijector_is_refused(arrange):
    net = MLP([8], context="required")
    with pytest.raises(ValueError, match="which is also part of the flow, expected"):
        Flow(arrange(Coupling(net)), embedding=net)


@pytest.mark.one_engine
@pytest.mark.parametrize("wrapped", [False, True])
def test_labels_that_a_table_does_not_hold_are_refused(wrapped, x, labels):
    table = keras.layers.Embedding(5, 3)
    flow = conditional(keras.Sequential([table, keras.layers.Dense(3)]) if wrapped else table)
    flow.adapt(x, labels)
    with pytest.raises(ContractError, match=r"integer labels .* in 0\.\.4\n?.*received int64.*1\.\.5"):
        flow.log_prob(x, labels + 1)
    with pytest.raises(ContractError, match="integer labels"):
        flow.log_prob(x, labels * 1.0)


@pytest.mark.one_engine
def test_a_text_is_labels_too(x):
    words = np.random.default_rng(0).integers(0, 50, (ROWS, 6))
    text = keras.Sequential([keras.layers.Embedding(50, 4), keras.layers.GlobalAveragePooling1D()])
    flow = conditional(text).adapt(x, words)
    assert flow.log_prob(x, words).shape == (ROWS,)


@pytest.mark.one_engine
def test_a_missing_context_is_asked_for(x):
    flow = conditional(Counted())
    with pytest.raises(ContractError, match=r"broke 'context'.*received none"):
        flow.log_prob(x)
    with pytest.raises(ContractError, match="a context to build its embedding for"):
        flow.build((None, 4))


@pytest.mark.one_engine
def test_an_answer_without_the_batch_is_refused():
    pooled = keras.layers.Lambda(
        lambda c: ops.sum(c, axis=0, keepdims=True), output_shape=lambda s: (1, s[-1])
    )
    with pytest.raises(ContractError, match="a row for each row of the context"):
        conditional(pooled).build({"x": (None, 4), "context": (None, 2)})
