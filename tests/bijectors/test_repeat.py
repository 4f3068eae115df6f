"""A Repeat computes what its copies compute as separate layers, and keeps each weight once."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops
from tolerance import REREAD

from flowkit import Flow, zoo
from flowkit.bijectors import (
    ActNorm,
    Autoregressive,
    Chain,
    Conv1x1,
    Coupling,
    Inverse,
    Logit,
    LULinear,
    Permute,
    Planar,
    Repeat,
    Residual,
    Scale,
    Shift,
    Sigmoid,
    Standardize,
)
from flowkit.conditioners import MADE, MLP, ConvNet, LipschitzMLP
from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.contract.call import Call
from flowkit.engines import engine
from flowkit.numerics import cos, sin
from flowkit.testing import Case, parametrize_bijectors
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines

IMAGE, VECTOR = (4, 4, 2), (3,)
BLOCKS = {
    "table": (lambda: Chain([Permute("shuffle"), LULinear(bias=True), Coupling(MLP([6]))]), VECTOR),
    "glow step": (lambda: Chain([ActNorm(), Conv1x1(), Coupling(ConvNet(4), Affine("tanh"))]), IMAGE),
    "autoregressive": (lambda: Autoregressive(MADE([8])), VECTOR),
    "inverse": (lambda: Inverse(Autoregressive(MADE([8]), order="reversed")), VECTOR),
    "reads its weights when it runs": (lambda: Planar(), VECTOR),
    "repeat in a repeat": (lambda: Chain([Shift(), Repeat(Chain([Scale(), ActNorm()]), 2)]), VECTOR),
    "a network of Keras": (lambda: Coupling(keras.layers.Dense(2), "additive"), (4,)),
    "noise": (lambda: Residual(LipschitzMLP([8]), trace="hutchinson", terms=2), VECTOR),
    "context": (lambda: Coupling(MLP([4], context="required")), VECTOR),
}


@parametrize_bijectors(
    [Case(name, lambda make=make: Repeat(make(), 3), (event,)) for name, (make, event) in BLOCKS.items()],
    clauses=["repeat"],
)
def test_it_answers_learns_and_adapts_as_separate_layers(bijector, check):
    check(bijector)


def data(event, rows=5):
    return np.random.default_rng(0).normal(size=(rows, *event)).astype("float32")


def numpy(tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def repeated(name, perturb, n=3, **options):
    make, event = BLOCKS[name]
    layer = Repeat(make(), n, **options)
    layer.build((None, *event))
    return perturb(layer), event


def chain_of(layer, event):
    """The copies of a Repeat as a Chain of separate layers."""
    chain = Chain(layer.copies())
    chain.build((None, *event))
    return chain


def gradients(bijector, x, context=None, inverse=False):
    """The gradients of a function of both outputs by the trainable weights, in their order."""
    variables = bijector.trainable_variables
    run = bijector.inverse if inverse else bijector

    def loss(values):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            z, log_det = run(ops.convert_to_tensor(x), context)
        return ops.mean(ops.square(z)) - ops.mean(log_det)

    return numpy(engine.gradients(loss, [ops.convert_to_tensor(v) for v in variables])[1])


@pytest.mark.one_engine
def test_a_weight_first_read_without_gradients_has_its_gradient(perturb):
    """The fixed point of a residual layer's inverse reads the context's weights in a scope without gradients."""
    layer = Repeat(Residual(LipschitzMLP([4], context="required")), 2)
    layer.build((None, *VECTOR), (None, 2))
    chain = Chain(perturb(layer).copies())
    chain.build((None, *VECTOR), (None, 2))
    how = {"context": data((2,)), "inverse": True}
    found, wanted = (gradients(bijector, data(VECTOR), **how) for bijector in (layer, chain))
    for place, column in enumerate(found):
        rows = np.stack(wanted[place :: len(found)])
        np.testing.assert_allclose(column, rows, rtol=2e-3, atol=1e-4 * np.abs(rows).max())


def test_channels_that_do_not_vary_are_reported_where_all_copies_adapt_in_one_program():
    x = data(VECTOR)
    x[:, 1] = 5
    with pytest.warns(UserWarning, match="1 of 3 channels do not vary"):
        Repeat(ActNorm(), 2).adapt(x)


def test_copies_adapt_by_numpy():
    """Standardize computes in numpy, which no program can."""
    x = data(VECTOR, rows=50) * 3 + 2
    layer = Repeat(Chain([Standardize(), Scale(0.5)]), 2).adapt(x)
    np.testing.assert_allclose(numpy(layer(x))[0].std(axis=0), np.exp(0.5), rtol=1e-5)


def test_each_copy_draws_its_own_start():
    for make in (Conv1x1, lambda: Conv1x1(seed=3), lambda: Permute("shuffle", seed=0)):
        layer = Repeat(make(), 3)
        layer.build((None, 12))
        for one, other in ((0, 1), (1, 2)):
            rows = ops.convert_to_numpy(layer.weights[0])
            assert (rows[one] != rows[other]).any()


def test_copies_come_back(perturb):
    layer, _ = repeated("table", perturb)
    copies = layer.copies()
    before = layer.get_weights()
    layer.assign(copies[::-1])
    for weight, values in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, values[::-1])
    with pytest.raises(ValueError, match="got 2 layers, expected 3"):
        layer.assign(copies[:2])


class Rotated(Bijector):
    spec = BijectorSpec(log_det="zero")

    def build(self, x_shape):
        self.angle = self.add_weight(shape=(), name="angle")

    def _derive(self, x_shape, inverse):
        angle = self.angle.value
        row = [ops.stack([cos(angle), sin(angle)]), ops.stack([-sin(angle), cos(angle)])]
        return {"matrix": ops.stack(row)}

    def _forward(self, x, derived):
        return ops.matmul(x, derived["matrix"]), 0.0


def test_derived_tensors_without_a_leading_axis_are_named():
    layer = Repeat(Chain([Scale(), Rotated()]), 3)
    with pytest.raises(
        ContractError, match=r"expected _derive of Rotated .*, received shapes \[\(2, 2, 3\)\]"
    ):
        layer(data((2,)))


@pytest.mark.one_engine
def test_freezing_a_layer_of_the_block_freezes_it_in_all_copies():
    layer = Repeat(Chain([Shift(), Scale()]), 3)
    layer.build((None, 2))
    layer.block.parts[0].trainable = False
    assert [weight.name for weight in layer.trainable_variables] == [layer.weights[1].name]
    layer.trainable = False
    assert layer.trainable_variables == layer.trainable_weights == []
    layer.trainable = True
    assert len(layer.trainable_weights) == 1


@pytest.mark.every_engine
def test_a_frozen_layer_is_saved_and_loaded(tmp_path, perturb):
    flow = Flow(Repeat(Chain([Scale(), Shift()]), 3))
    flow.build((None, 2))
    perturb(flow)
    flow.bijector.block.parts[0].trainable = False
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_allclose(loaded.log_prob(data((2,))), flow.log_prob(data((2,))), rtol=REREAD)
    assert len(loaded.trainable_variables) == len(flow.trainable_variables) == 1


def test_it_is_built_inside_another_model():
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.flow = Flow(Repeat(Coupling(MLP([4])), 2))

        def call(self, x):
            return -self.flow(x)

    model = Outer()
    model.compile("sgd", loss=lambda target, loss: loss)
    history = model.fit(data((4,), rows=8), np.zeros(8), verbose=0).history
    assert np.isfinite(history["loss"]).all()


class Penalised(Shift):
    """Adds 1 to the loss of training."""

    def run(self, *args, **options):
        self.add_loss(ops.ones(()))
        return super().run(*args, **options)


@pytest.mark.one_engine
def test_what_a_copy_adds_to_the_loss_counts():
    losses = []
    for bijector in (Repeat(Penalised(0.0), 3), Chain([Penalised(0.0) for _ in range(3)])):
        flow = Flow(bijector)
        flow.compile("sgd")
        losses.append(flow.fit(data((2,), rows=8), epochs=1, verbose=0).history["loss"][0])
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("bijector", [lambda: Penalised(0.0), lambda: Repeat(Penalised(0.0), 3)])
def test_losses_do_not_pile_up_while_a_flow_scores(bijector):
    flow, x = Flow(bijector()), data((2,), rows=8)
    for _ in range(4):
        flow.log_prob(x)
    assert len(flow.losses) <= 3


class Counting(Bijector):
    """z = x + 2 shift; counts how often it derives."""

    spec = BijectorSpec(log_det="zero")
    derived = 0

    def build(self, x_shape):
        self.shift = self.add_weight(shape=(x_shape[-1],), initializer="normal", name="shift")

    def _derive(self, x_shape, inverse):
        type(self).derived += 1
        return {"shift": 2 * self.shift.value, "sign": -1.0 if inverse else 1.0, "none": None}

    def _forward(self, x, derived):
        assert derived["none"] is None
        return x + derived["sign"] * derived["shift"], 0.0

    _inverse = _forward


@pytest.mark.one_engine
def test_weights_are_derived_once_for_all_copies(perturb):
    layer = Repeat(Counting(), 7)
    layer.build((None, 3))
    perturb(layer)
    Counting.derived = 0
    z, _ = layer.run(ops.convert_to_tensor(data(VECTOR)), Call())
    assert Counting.derived == 1
    wanted = data(VECTOR) + 2 * ops.convert_to_numpy(layer.weights[0]).sum(0)
    np.testing.assert_allclose(ops.convert_to_numpy(z), wanted, rtol=1e-5, atol=1e-6)  # the sums may cancel


@pytest.mark.one_engine
def test_statistics_of_a_network_inside_are_kept_for_each_copy():
    network = keras.Sequential(
        [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dense(4)]
    )
    flow = Flow(Repeat(Coupling(network), 2))
    flow.compile(keras.optimizers.Adam(1e-3))
    flow.fit(data((4,), rows=32), epochs=1, batch_size=16, verbose=0)
    (mean,) = (w for w in flow.weights if w.name.endswith("moving_mean"))
    rows = ops.convert_to_numpy(mean)
    assert (rows != 0).all()
    assert (rows[0] != rows[1]).any()


@pytest.mark.parametrize("family", ["nsf", "maf", "gaussianization", "residual", "bnaf", "planar"])
@pytest.mark.one_engine
def test_alike_layers_of_a_family_share_variables(family):
    few, many = (getattr(zoo, family)(features=3, layers=layers, hidden=[8]) for layers in (4, 12))
    assert len(few.weights) == len(many.weights)


WITHOUT_LOOPS_OF_ONE_TYPE = {
    "no weights": lambda: Chain([Sigmoid(), Logit()]),
    "parts of another type": lambda: Coupling(MLP([4]), dtype="float64"),
}


@pytest.mark.parametrize("backprop", ["stored", "recompute"])
@pytest.mark.parametrize("name", WITHOUT_LOOPS_OF_ONE_TYPE)
def test_programs_answer_as_separate_layers(name, backprop, perturb):
    """Also where a loop would have nothing to go through, or states of two types."""
    with engine.float64() if name == "parts of another type" else contextlib.nullcontext():
        layer = Repeat(WITHOUT_LOOPS_OF_ONE_TYPE[name](), 3, backprop=backprop, dtype="float32")
        x = data((4,))
        layer.build(x.shape)
        perturb(layer)
        if name == "parts of another type" and engine.name == "tensorflow":
            # It mixes no types in a chain either.
            with pytest.raises(TypeError, match="float64"):
                layer(x)
            return
        expected = numpy(chain_of(layer, (4,))(x))
        run = engine.inference_function(lambda x: layer(x), layer)
        for one, other in zip(numpy(run(engine.as_input(x))), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
