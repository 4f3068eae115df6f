"""What flowkit puts in the place of Keras's own steps over all weights gives Keras's values."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow, backends, training
from flowkit.bijectors import Scale

EPS = np.finfo("float32").eps

REPLACED = ("_clip_gradients", "_update_model_variables_moving_average")


@pytest.mark.parametrize("name", REPLACED)
def test_keras_still_has_what_is_replaced(name):
    """A method of another name would be left alone without a word."""
    assert inspect.isfunction(getattr(keras.optimizers.Optimizer, name))
    written = [
        inspect.getsource(cls) for cls in keras.optimizers.Adam.__mro__ if cls.__module__.startswith("keras.")
    ]
    assert any(f"self.{name}(" in source for source in written)


def moved(optimizer, replace, steps=3):
    """Weights and averages after some steps with gradients whose memory has another order than the weights'."""
    start = [
        np.arange(6.0, dtype="float32").reshape(2, 3),
        np.ones(4, "float32"),
        np.full((2, 3), 2, "float32"),
    ]
    weights = [keras.Variable(value) for value in start]
    optimizer.build(weights)
    if replace:
        backends.use_multi_tensor(optimizer)
    for step in range(steps):
        grads = [ops.transpose(ops.convert_to_tensor(np.cos(value.T + step))) for value in start]
        optimizer.apply(grads, weights)
        optimizer._update_model_variables_moving_average(weights)
    averages = optimizer._model_variables_moving_average if optimizer.use_ema else []
    return [ops.convert_to_numpy(v) for v in (*weights, *averages)]


@pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")
@pytest.mark.parametrize("norm", [0.1, 1e3])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("SGD", {}),
        # In float32, Keras's 1 - beta_2^t loses four digits for its default beta_2 of 0.999: see the next test.
        ("Adam", {"beta_2": 0.8}),
        ("Adam", {"beta_2": 0.8, "epsilon": 1e-2, "beta_1": 0.5}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {"beta_2": 0.8, "weight_decay": 0.1}),
        ("Adamax", {}),
    ],
)
def test_the_values_are_keras_own(name, more, norm):
    def train(replace):
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        make = getattr(keras.optimizers, name)
        averaging = {"use_ema": True, "ema_momentum": 0.75}
        return moved(make(schedule, global_clipnorm=norm, **averaging, **more), replace)

    for own, other in zip(train(replace=True), train(replace=False), strict=True):
        np.testing.assert_allclose(own, other, rtol=8 * EPS, atol=EPS)


@pytest.mark.skipif(backends.name() != "jax", reason="the other engines never loop over alike weights")
@pytest.mark.parametrize(
    ("make", "loops"),
    [
        (lambda **more: keras.optimizers.Adam(0.1, **more), True),
        (lambda **more: keras.optimizers.Adam(0.1, amsgrad=True, **more), True),
        (lambda **more: keras.optimizers.AdamW(0.1, weight_decay=0.1, **more), True),
        (lambda **more: keras.optimizers.SGD(0.1, momentum=0.9, **more), True),
        (lambda **more: training.GlowAdamax(0.1, **more), True),
        (lambda **more: keras.optimizers.Lion(0.1, **more), False),
        (lambda **more: training.GuardedOptimizer(keras.optimizers.Adam(0.1, **more)), True),
    ],
    ids=["Adam", "amsgrad", "AdamW", "SGD", "GlowAdamax", "Lion", "guarded"],
)
def test_as_on_a_gpu_those_of_one_shape_take_one_step(make, loops, monkeypatch):
    import jax

    from flowkit.backends.jax import parts

    def apply(optimizer, weights, state, grads):
        return optimizer.stateless_apply(state, grads, weights)

    def size(count):
        """Lines of the program of one step."""
        weights = [keras.Variable(np.ones((2, 3), "float32")) for _ in range(count)]
        optimizer = make(global_clipnorm=0.1, use_ema=True)
        optimizer.build(weights)
        backends.use_multi_tensor(getattr(optimizer, "inner_optimizer", optimizer))
        values, state = [w.value for w in weights], [v.value for v in optimizer.variables]
        program = jax.jit(lambda *given: apply(optimizer, *given)).lower(values, state, values)
        return program.as_text().count("\n")

    def values():
        optimizer = make(global_clipnorm=0.1, use_ema=True, ema_momentum=0.75)
        start = [np.arange(6.0).reshape(2, 3), np.ones(4), np.full((2, 3), 2.0)]
        weights = [keras.Variable(value, dtype="float32") for value in start]
        optimizer.build(weights)
        backends.use_multi_tensor(getattr(optimizer, "inner_optimizer", optimizer))
        state, values = [v.value for v in optimizer.variables], [w.value for w in weights]
        for step in range(3):
            grads = [ops.cos(ops.convert_to_tensor(value + step, "float32")) for value in start]
            values, state = apply(optimizer, values, state, grads)
        return [*values, *state]

    one_by_one, grows = values(), size(24) - size(12)
    monkeypatch.setattr(parts, "scans", lambda: True)
    for own, other in zip(values(), one_by_one, strict=True):
        np.testing.assert_allclose(own, other, rtol=8 * EPS, atol=EPS)
    assert (size(24) - size(12) < 0.7 * grows) == loops  # each is still put on its stack, and taken off


@pytest.mark.skipif(backends.name() != "jax", reason="the other engines never loop over alike weights")
def test_what_an_optimizer_has_is_not_what_it_keeps_of_each_weight():
    from flowkit.backends.jax.optimizer import _slots

    optimizer = keras.optimizers.SGD(0.1)  # `iterations` and `learning_rate`: two, as there are weights
    optimizer.build([keras.Variable([1.0]), keras.Variable([2.0])])
    assert len(optimizer.variables) == 2
    assert _slots(optimizer) == []


@pytest.mark.skipif(backends.name() != "torch", reason="the other engines take Keras's steps")
def test_adam_by_default_is_as_exact_as_float32_allows():
    weights = moved(keras.optimizers.Adam(0.1), replace=True)
    exact = [np.arange(6.0).reshape(2, 3), np.ones(4), np.full((2, 3), 2.0)]
    grads = [np.cos(exact[i] + step) for step in range(3) for i in range(3)]
    m, v = [0.0] * 3, [0.0] * 3
    for step in range(3):
        rate = 0.1 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        for i in range(3):
            g = grads[3 * step + i]
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g**2
            exact[i] = exact[i] - rate * m[i] / (np.sqrt(v[i]) + 1e-7)
    for own, other in zip(weights, exact, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=5 * EPS)  # the largest is 5


def replaced(optimizer):
    """The methods that are not the class's own, once all that can be are replaced."""
    optimizer.build([keras.Variable([1.0])])
    backends.use_multi_tensor(optimizer)
    return {name for name in vars(optimizer) if callable(getattr(type(optimizer), name, None))}


@pytest.mark.skipif(backends.name() != "torch", reason="the other engines replace nothing")
def test_what_keras_has_written_is_replaced_and_nothing_else():
    class Clipping(keras.optimizers.SGD):
        def _clip_gradients(self, grads):
            return [0 * g for g in grads]

    adam = type(keras.optimizers.Adam())  # on torch Keras makes an Adam of a class of its own

    class Stepping(adam):
        def _parallel_update_step(self, grads, variables, learning_rate):
            """Moves nothing."""

    both = {"_clip_gradients", "_update_model_variables_moving_average"}
    assert replaced(keras.optimizers.Adam()) == both | {"_parallel_update_step", "apply"}
    assert replaced(keras.optimizers.AdamW()) == both | {"_parallel_update_step", "apply"}
    assert replaced(keras.optimizers.SGD()) == both
    assert replaced(Clipping(0.1)) == both - {"_clip_gradients"}
    assert replaced(Stepping(0.1)) == both
    np.testing.assert_array_equal(moved(Clipping(0.1), replace=True)[0], np.arange(6.0).reshape(2, 3))


@pytest.mark.skipif(backends.name() != "torch", reason="the other engines replace nothing")
def test_the_optimizer_inside_others_is_the_one_that_is_replaced():
    inner = keras.optimizers.Adam()
    backends.use_multi_tensor(keras.optimizers.LossScaleOptimizer(inner))
    assert "_parallel_update_step" in vars(inner)


def stepped(optimizer, grads, replace, weight_dtype="float32"):
    weights = [keras.Variable(np.ones(3), dtype=weight_dtype) for _ in grads]
    optimizer.build(weights)
    if replace:
        backends.use_multi_tensor(optimizer)
    optimizer.apply([g if g is None else ops.convert_to_tensor(g) for g in grads], weights)
    return [ops.convert_to_numpy(w) for w in weights]


@pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(
    "grads",
    [
        # Keras makes all NaN, for all to see.
        [np.array([1.0, np.inf, 2.0], "float32"), np.ones(3, "float32")],
        [np.full(3, 1e30, "float32"), np.ones(3, "float32")],  # whose norm overflows
        [np.ones(3, "float32"), None],
        [np.ones(3, "float64"), np.ones(3, "float32")],
    ],
    ids=["infinite", "overflowing", "missing", "wider"],
)
def test_awkward_gradients_do_what_they_do_in_keras(grads):
    if backends.name() != "torch" and grads[0].dtype == "float64":
        pytest.skip("this engine takes gradients of the weights' type alone")
    one, other = (
        stepped(keras.optimizers.Adam(0.1, beta_2=0.8, global_clipnorm=1.0), grads, replace)
        for replace in (True, False)
    )
    for own, keras_own in zip(one, other, strict=True):
        np.testing.assert_allclose(own, keras_own, rtol=1e-6)


@pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")
@pytest.mark.parametrize("guard", [False, True])
def test_averages_and_accumulated_gradients_go_together(guard):
    flow = Flow(Scale())
    optimizer = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2)
    flow.compile(training.GuardedOptimizer(optimizer) if guard else optimizer)
    flow.fit(np.full((16, 2), 3.0, "float32"), batch_size=4, epochs=2, verbose=0)
    assert (ops.convert_to_numpy(flow.bijector.log_scale) < 0).all()  # towards the standard normal
