"""Continuous flows: closed forms, orders of the solvers, gradients, planted mistakes and errors."""

import keras
import numpy as np
import pytest
import scipy.linalg
from arrays import array, f64, tensor
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Continuous, Inverse
from flowkit.bijectors.solvers import Solver, adapt_steps
from flowkit.conditioners import Field
from flowkit.contract.call import Call
from flowkit.engines import engine
from flowkit.numerics import matmul

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
MATRIX = np.random.default_rng(1).normal(size=(3, 3)).astype("float32") * 0.7


class Linear(keras.Layer):
    """v = x A."""

    def call(self, x, t):
        return matmul(x, ops.convert_to_tensor(MATRIX, x.dtype))


def built(perturb, *args, size=3, field=None, **options):
    keras.utils.set_random_seed(0)
    layer = Continuous(field or Field([8]), *args, **options)
    layer.build_for((None, size))
    perturb(layer, scale=0.3)
    return layer


@pytest.mark.parametrize("options", [{"steps": 10}, {"solver": "dopri5", "rtol": 1e-6, "atol": 1e-6}])
def test_a_linear_field_is_the_matrix_exponential(options):
    layer = Continuous(Linear(), **options)
    z, log_det = layer(X)
    np.testing.assert_allclose(array(z), X @ scipy.linalg.expm(-MATRIX), atol=2e-5)
    np.testing.assert_allclose(array(log_det), np.full(4, -np.trace(MATRIX)), atol=1e-5)
    back, log_back = layer.inverse(z)
    np.testing.assert_allclose(array(back), X, atol=2e-5)
    np.testing.assert_allclose(array(log_back), np.full(4, np.trace(MATRIX)), atol=1e-5)


@pytest.mark.one_engine
def test_a_functional_model_is_a_field(tmp_path):
    x, t = keras.Input((3,)), keras.Input(())
    v = keras.layers.Dense(3, use_bias=False)(x) * (1 + t[:, None])
    flow = Flow(Continuous(keras.Model([x, t], v), steps=10))
    flow.build((None, 3))
    flow.bijector.field.set_weights([MATRIX])
    z, log_det = flow.bijector(X)  # 1 + t is 3/2 on average
    np.testing.assert_allclose(array(z), X @ scipy.linalg.expm(-1.5 * MATRIX), atol=1e-4)
    np.testing.assert_allclose(array(log_det), np.full(4, -1.5 * np.trace(MATRIX)), atol=1e-4)
    flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(again.log_prob(X), flow.log_prob(X))


@pytest.mark.one_engine
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_errors_shrink_by_the_order_of_the_method(solver, order):
    with engine.float64():
        x = X.astype("float64")
        exact = x @ scipy.linalg.expm(-MATRIX.astype("float64"))
        errors = [np.abs(f64(Continuous(Linear(), solver, steps=n)(x)[0]) - exact).max() for n in (8, 16)]
        assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.25)
        measured, _ = Continuous(Linear(), solver, steps=8).solver_error(x)
        assert array(measured).max() == pytest.approx(errors[0] - errors[1], rel=0.1)


@pytest.mark.one_engine
def test_adaptive_steps_keep_to_the_tolerance_row_by_row(perturb):
    with engine.float64():
        layer = built(perturb)
        fine = f64(built(perturb, steps=200)(X.astype("float64"))[0])
        rate = layer._rate({"weights": [engine.tensor(v) for v in layer.field.variables]}, Call())
        for tolerance in (1e-4, 1e-8):
            solver = Solver("dopri5", 1, tolerance, tolerance, 200)
            found = adapt_steps(solver, rate, ops.convert_to_tensor(X, "float64"), 1.0, 0.0)
            assert np.abs(f64(found.x) - fine).max() < 20 * tolerance
            np.testing.assert_allclose(f64(found.lengths).sum(axis=0), -1.0, atol=1e-12)
            alone = adapt_steps(solver, rate, ops.convert_to_tensor(X[:1], "float64"), 1.0, 0.0)
            np.testing.assert_allclose(f64(alone.x), f64(found.x)[:1], atol=1e-12)


@pytest.mark.two_engines
@pytest.mark.wide
@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_gradients_are_the_same_whatever_is_kept(solver, perturb):
    found = {}
    for backprop in ("stored", "recompute", "reversible")[: 3 if solver == "rk4" else 2]:
        layer = built(perturb, solver, steps=8, backprop=backprop, max_steps=8, rtol=1e-2, atol=1e-2)

        def loss(given, layer=layer):
            with keras.StatelessScope(list(zip(layer.trainable_variables, given[1:], strict=True))):
                z, log_det = layer(given[0])
            return ops.sum(ops.square(z)) + ops.sum(log_det)

        given = [tensor(X, "float32"), *(v.value for v in layer.trainable_variables)]
        found[backprop] = [array(grad) for grad in engine.gradients(loss, given)[1]]
    for backprop, grads in found.items():
        for one, other in zip(found["stored"], grads, strict=True):
            assert np.isfinite(one).all()
            np.testing.assert_allclose(other, one, atol=2e-3 if backprop == "reversible" else 1e-5, rtol=1e-4)


@pytest.mark.two_engines
@pytest.mark.parametrize(
    "options",
    [
        {"activation": "tanh"},
        {"squash": True},
        {"activation": "softplus", "context": "optional"},
    ],
)
def test_products_of_the_field_are_those_of_the_engine(options, perturb):
    keras.utils.set_random_seed(0)
    field = Field([8, 8], features=3, **options)
    context = {"context": tensor(X[:, :2], "float32")} if "context" in options else {}
    field.build((None, 3), *((None, 2) for _ in context))
    perturb(field, scale=0.3)
    x, t = tensor(X, "float32"), tensor([0.0, 0.2, 0.5, 1.0], "float32")
    directions = tensor(np.eye(3)[:, None], "float32")
    v, products = field.jacobian_products(x, t, directions, **context)
    np.testing.assert_allclose(array(v), array(field(x, t, **context)), atol=1e-5)
    for number, row in enumerate(array(products)):
        step = 1e-2 * np.eye(3, dtype="float32")[number]
        ahead, behind = (array(field(tensor(X + s, "float32"), t, **context)) for s in (step, -step))
        np.testing.assert_allclose(row, (ahead - behind) / 2e-2, atol=2e-3)


@pytest.mark.one_engine
def test_guidance_moves_the_velocity_away_from_that_without_a_context(perturb):
    field, context = Field([8], context="optional"), tensor(X[:, :2], "float32")
    layer = Continuous(field, guidance=2.0)
    layer.build_for((None, 3), (None, 2))
    perturb(layer, scale=0.3)
    x, t = tensor(X, "float32"), ops.full((4,), 0.5)
    given, free = array(field(x, t, context=context)), array(field(x, t))
    guided = array(layer._velocity(x, t, context, layer.guidance))
    np.testing.assert_allclose(guided, given + 2 * (given - free), atol=1e-5)
    np.testing.assert_allclose(array(layer.velocity(x, 0.5, context)), given, atol=1e-6)


@pytest.mark.two_engines
def test_penalties_are_integrals_along_the_way_in_training_alone():
    """Of v = x A, |dv/dx|^2 is that of A everywhere, and v along the way is known."""
    layer = Continuous(Linear(), steps=10, kinetic=0.5, jacobian=2.0)
    flow = Flow(layer)
    flow(tensor(X, "float32"))
    assert not layer.losses
    flow(tensor(X, "float32"), training=True)
    times = np.linspace(0, 1, 201)
    along = [np.square(X @ scipy.linalg.expm(-s * MATRIX) @ MATRIX).sum(axis=1).mean() for s in times]
    kinetic = scipy.integrate.simpson(along, x=times)
    assert float(array(sum(layer.losses))) == pytest.approx(
        0.5 * kinetic + 2 * np.square(MATRIX).sum(), rel=1e-4
    )


@pytest.mark.two_engines
def test_samples_take_as_many_steps_as_are_asked_for(perturb):
    flow = Flow(Continuous(Field([8]), "dopri5", rtol=1e-6, atol=1e-6))
    flow.build((None, 3))
    perturb(flow, scale=0.3)
    exact = flow.sample(8, seed=0)
    errors = [np.abs(flow.sample(8, seed=0, steps=n) - exact).max() for n in (1, 4, 16)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    np.testing.assert_array_equal(flow.sample(8, seed=0), exact)
    evaluations = flow.bijector.evaluations(tensor(X, "float32"))
    assert evaluations % 6 == 1
    assert evaluations > 24


@pytest.mark.every_engine
@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_samples_and_latents_take_no_divergence(perturb, monkeypatch, solver):
    flow = Flow(Continuous(Field([8]), solver, steps=8))
    flow.build((None, 3))
    perturb(flow, scale=0.3)
    scored, _ = flow.sample_and_log_prob(8, seed=0)
    monkeypatch.setattr(engine, "jacobian_products", None)
    drawn = flow.sample(8, seed=0)
    np.testing.assert_allclose(drawn, scored, atol=1e-5)
    np.testing.assert_allclose(flow.decode(flow.encode(drawn)), drawn, atol=1e-3)


@pytest.mark.two_engines
@pytest.mark.wide
@pytest.mark.parametrize("within", [lambda layer: layer, lambda layer: Chain([Inverse(layer)])])
def test_the_divergence_is_estimated_above_sixteen_entries(within):
    flow = Flow(within(Continuous(Field([8]), "euler", steps=2)))
    flow.compile("adam")
    flow.fit(np.random.default_rng(0).normal(size=(64, 17)).astype("float32"), batch_size=32, verbose=0)
    assert flow.exact == "estimate"
    x = np.ones((2, 17), "float32")
    assert np.abs(flow.log_prob(x) - flow.log_prob(x, seed=1)).max() > 0
    np.testing.assert_array_equal(flow.log_prob(x), flow.log_prob(x))
    exact = Flow(within(Continuous(Field([8]), "euler", steps=2, trace="exact")))
    exact.build((None, 17))
    exact.set_weights([w for w in flow.get_weights() if w.dtype == np.float32])
    draws = [flow.log_prob(x[:1], seed=seed)[0] for seed in range(100)]
    allowed = 4 * float(np.std(draws)) / 10
    assert np.mean(draws) == pytest.approx(float(exact.log_prob(x[:1])[0]), abs=allowed)
    few = Flow(within(Continuous(Field([8]), "euler", steps=2)))
    few.build((None, 16))
    assert few.exact == exact.exact == "exact"
