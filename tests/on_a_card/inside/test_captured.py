"""Steps that are recorded train as those that run one by one, to the last bit, and ask nothing of the host."""

import itertools
import warnings

import keras
import numpy as np
import pretend_card
import pytest
from keras import ops
from pretend_graph import PretendGraph

import flowkit
from flowkit import objectives, training
from flowkit.backends.torch import graphs
from flowkit.bijectors import Coupling
from flowkit.conditioners import MLP

ROWS, BATCH, EPOCHS = 30, 4, 2  # seven batches and a smaller one
REPLAYS = 7 - 3 + 7  # all but the smaller ones, and a warm-up of three


@pytest.fixture(autouse=True)
def graph(monkeypatch):
    monkeypatch.setitem(graphs._GRAPHS, pretend_card.NAME, PretendGraph)
    monkeypatch.setattr(PretendGraph, "made", 0)
    monkeypatch.setattr(PretendGraph, "replays", 0)


class Logs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append({name: float(value) for name, value in logs.items()})


def adam(rate=1e-3, **options):
    return keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.9, global_clipnorm=50.0, **options)


def guarded(optimizer):
    return training.GuardedOptimizer(optimizer)


def trained(make, optimizer, cuda_graph, x, loss=None, callbacks=(), **given):
    """(a flow from `make` that has been trained, the logs of each step)."""
    keras.utils.set_random_seed(3)
    flow, logs = make(), Logs()
    flow.compile(optimizer(), loss, cuda_graph=cuda_graph)
    given = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False} | given
    flow.fit(x, verbose=0, callbacks=[logs, *callbacks], **given)
    return flow, logs.seen


def state(flow):
    return {v.path: ops.convert_to_numpy(v) for v in [*flow.variables, *flow.optimizer.variables]}


def assert_alike(make, optimizer, x, replays=REPLAYS, **given):
    """Train a flow in both ways; what it is in the end, and its logs, are the same. Gives the one with a graph."""
    plain, logs = trained(make, optimizer, False, x, **given)
    assert PretendGraph.made == 0
    recorded, same = trained(make, optimizer, True, x, **given)
    assert (PretendGraph.made, PretendGraph.replays) == (1, replays)
    assert same == logs
    for (_, one), (path, other) in zip(state(plain).items(), state(recorded).items(), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=path)
    return recorded


def host_rate():
    rates = itertools.count(1)
    return lambda: 1e-2 / next(rates)


OPTIMIZERS = {
    "guarded": lambda: guarded(adam()),
    "a schedule": lambda: guarded(adam(training.WarmUpCosine(1e-2, total_steps=12, warmup_steps=4))),
    "plain": adam,
    "clipped one by one": lambda: keras.optimizers.Adam(1e-3, clipnorm=0.1),
    "clipped entries": lambda: guarded(keras.optimizers.AdamW(1e-3, clipvalue=0.1, use_ema=True)),
    "AdamW": lambda: guarded(keras.optimizers.AdamW(1e-3, weight_decay=0.1, clipnorm=0.5)),
    "a function of the host": lambda: keras.optimizers.Adam(host_rate()),
    "Keras's schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(1e-2, 3, 0.5)
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(glow, images, optimizer):
    flow = assert_alike(glow, optimizer, images[:ROWS])
    assert int(flow.optimizer.iterations) == 8 * EPOCHS
    assert int(flow.dequantize.noise.state[1]) == 8 * EPOCHS  # a draw for each step, as without a graph


@pytest.mark.parametrize("options", [{"backprop": "recompute"}, {"backprop": "reversible"}], ids=str)
def test_gradients_that_save_memory(glow, images, options):
    assert_alike(lambda: glow(**options), OPTIMIZERS["guarded"], images[:ROWS])


@pytest.mark.parametrize("options", [{}, {"classifier_weight": 0.01}], ids=["classes", "classifier"])
def test_labels(glow, images, labels, options):
    make = lambda: glow(num_classes=4, **options)  # noqa: E731
    assert_alike(make, OPTIMIZERS["guarded"], images[:ROWS], context=labels[:ROWS])


def test_a_batch_that_is_not_finite_is_skipped_in_a_replay(glow, images):
    weights = np.ones(ROWS, "float32")
    weights[5 * BATCH] = 3e38  # the sixth batch, whose loss is infinite
    flow = assert_alike(glow, OPTIMIZERS["guarded"], images[:ROWS], sample_weight=weights)
    assert int(flow.optimizer.skipped) == EPOCHS
    assert int(flow.optimizer.iterations) == 7 * EPOCHS


def test_a_rate_that_a_callback_changes_is_read(glow, images):
    class Slower(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 1e-2 / (1 + batch)

    assert_alike(glow, OPTIMIZERS["guarded"], images[:ROWS], callbacks=[Slower()])


def test_validation_between_epochs_changes_nothing(glow, images):
    assert_alike(glow, OPTIMIZERS["guarded"], images[:ROWS], validation_data=images[ROWS:])


# What is drawn


class Noisy(objectives.Objective):
    """Likelihood of data with noise, by several of Keras's functions and by seeds of each sort."""

    mask = keras.random.SeedGenerator(5)

    def __call__(self, flow, x, context):
        x = x + 0.1 * keras.random.truncated_normal(ops.shape(x), seed=flow.sampler)
        x = x * keras.random.uniform((ops.shape(x)[0], 1), 0.9, 1.1, seed=7)
        x = x + keras.random.randint(ops.shape(x), 0, 3, seed=flow.sampler)
        x = keras.random.dropout(x, 0.25, seed=self.mask)
        return objectives.MaximumLikelihood()(flow, x, context)


def energy(x):
    return -0.5 * ops.sum(ops.square(x - 1), axis=-1)


def of_vectors():
    couplings = [Coupling(MLP([8]), swap=bool(i)) for i in range(2)]
    flow = flowkit.Flow(flowkit.bijectors.Chain(couplings))
    flow.build((None, 3))
    return flow


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")


def test_draws_of_all_sorts(points, monkeypatch):
    states = []
    for cuda_graph in (False, True):
        monkeypatch.setattr(Noisy, "mask", keras.random.SeedGenerator(5))
        flow, logs = trained(of_vectors, OPTIMIZERS["guarded"], cuda_graph, points, loss=Noisy())
        states.append([*state(flow).values(), ops.convert_to_numpy(Noisy.mask.state), np.array(logs)])
    assert PretendGraph.replays == REPLAYS
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_without_data():
    loss = objectives.ReverseKL(energy)
    assert_alike(of_vectors, OPTIMIZERS["guarded"], None, replays=17, loss=loss, steps_per_epoch=10)


def test_draws_that_depend_on_what_is_computed_are_refused(points):
    class Shuffled(objectives.Objective):
        def __call__(self, flow, x, context):
            return objectives.MaximumLikelihood()(flow, keras.random.shuffle(x, seed=flow.sampler), context)

    with pytest.raises(NotImplementedError, match=r"keras\.random\.shuffle of a tensor"):
        trained(of_vectors, OPTIMIZERS["guarded"], True, points, loss=Shuffled())


def test_other_draws_than_in_the_step_before_are_refused(points):
    class Fickle(objectives.Objective):
        steps = 0

        def __call__(self, flow, x, context):
            self.steps += 1
            shape = ops.shape(x) if self.steps < 4 else (1, 3)
            return objectives.MaximumLikelihood()(
                flow, x + keras.random.normal(shape, seed=flow.sampler), context
            )

    with pytest.raises(
        RuntimeError, match=r"steps that draw alike, received keras\.random\.normal as draw number 1"
    ):
        trained(of_vectors, OPTIMIZERS["guarded"], True, points, loss=Fickle())


# When it is recorded, and when anew


def test_weights_that_are_frozen_later_stay(glow, images):
    states = []
    for cuda_graph in (False, True):
        flow, _ = trained(glow, OPTIMIZERS["clipped one by one"], cuda_graph, images[:ROWS])
        part = flow.bijector.scales[0]
        part.trainable = False
        frozen = [ops.convert_to_numpy(weight).copy() for weight in part.weights]
        flow.fit(images[:ROWS], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
        part.trainable = True
        for before, weight in zip(frozen, part.weights, strict=True):
            np.testing.assert_array_equal(before, ops.convert_to_numpy(weight))
        flow.fit(images[:ROWS], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
        states.append(state(flow))
    assert PretendGraph.made == 3
    for one, other in zip(*(found.values() for found in states), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_recorded_anew_when_it_has_to_be(glow, images):
    flow, _ = trained(glow, OPTIMIZERS["guarded"], True, images[:ROWS])
    made, replays = PretendGraph.made, PretendGraph.replays
    flow.fit(images[:ROWS], batch_size=BATCH, verbose=0)
    assert (PretendGraph.made, PretendGraph.replays) == (made, replays + 7)  # the same weights
    flow.fit(images[:24], batch_size=3, verbose=0)
    assert (PretendGraph.made, PretendGraph.replays) == (made + 1, replays + 7 + 5)  # batches of another kind
    weight = flow.bijector.trainable_weights[0].value
    weight.data = weight.data.clone()
    flow.fit(images[:24], batch_size=3, verbose=0)
    assert (PretendGraph.made, PretendGraph.replays) == (made + 2, replays + 7 + 5 + 5)  # a weight elsewhere
    for rows in (2, 3, 2, 3, 2, 3, 2, 3):
        flow.train_on_batch(images[:rows])
    assert PretendGraph.made == made + 2  # smaller batches, one at a time
    assert PretendGraph.replays == replays + 7 + 5 + 5


def test_one_batch_at_a_time(glow, images):
    states = []
    for cuda_graph in (False, True):
        flow, _ = trained(glow, OPTIMIZERS["plain"], cuda_graph, images[:BATCH], epochs=1)
        logs = [flow.train_on_batch(images[i : i + BATCH]) for i in range(0, 24, BATCH)]
        states.append([np.array(logs), *state(flow).values()])
    assert PretendGraph.replays == 6 - 3
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


# What it costs, what it reports, and what it refuses


def test_a_replay_uploads_the_batch_and_waits_for_logs_alone(glow, images, labels):
    flow = glow(num_classes=4)
    flow.compile(OPTIMIZERS["guarded"](), cuda_graph=True)
    flow.fit(images, context=labels, batch_size=4, verbose=0)
    found = []
    for steps in (1, 2):
        with pretend_card.counting() as counts:
            flow.fit(images[: 4 * steps], context=labels[: 4 * steps], batch_size=4, verbose=0)
        found.append(counts)
    uploads, waits = found[1].uploads - found[0].uploads, found[1].waits - found[0].waits
    assert uploads == {"failed_step.py:fit": 2}  # the batch and the labels, by Keras
    assert waits == {"Keras alone": 3}  # its logs
    launched = found[1].kernels - found[0].kernels
    # One draw and its next seed, copied to its place; three logs; the labels' place
    assert launched.total() <= 20, launched


def test_drift_is_reported_at_the_end_of_an_epoch(glow, images):
    def drifting():
        flow = glow(backprop="reversible")
        for layer in flow._flatten_layers():
            if getattr(layer, "backprop", None) == "reversible":
                layer._drift_tolerance = 0.0
        return flow

    flow = drifting()
    flow.compile(OPTIMIZERS["guarded"](), cuda_graph=True)
    with pytest.warns(UserWarning, match="was rebuilt with a relative error"):
        flow.fit(images, batch_size=8, verbose=0)  # three steps that look, and one that keeps
    chains = [layer for layer in flow._flatten_layers() if getattr(layer, "_worst_drift", 0)]
    for chain in chains:
        chain._worst_drift = 0.0
    with pytest.warns(UserWarning, match="was rebuilt with a relative error"):
        flow.fit(images[:8], batch_size=8, verbose=0)  # one replay
    assert chains
    assert all(chain._worst_drift > 0 for chain in chains)


def test_no_drift_is_not_reported(glow, images):
    flow = glow(backprop="reversible")
    flow.compile(OPTIMIZERS["guarded"](), cuda_graph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        flow.fit(images, batch_size=4, verbose=0)


class Asking(objectives.Objective):
    """Likelihood, by way of a number."""

    def __call__(self, flow, x, context):
        losses = objectives.MaximumLikelihood()(flow, x, context)
        return losses if float(ops.sum(ops.stop_gradient(losses))) < 1e9 else 0 * losses


def test_a_step_that_waits_is_refused_and_changes_nothing(points):
    flow = of_vectors()
    flow.compile(OPTIMIZERS["guarded"](), Asking(), cuda_graph=True)
    with pytest.raises(RuntimeError, match=r"host neither waits .* cannot be recorded .*: waits in"):
        flow.fit(points, batch_size=BATCH, verbose=0)
    assert int(flow.optimizer.iterations) == 3
    before = [ops.convert_to_numpy(v).copy() for v in (*flow.weights, *flow.optimizer.variables)]
    flow.compile(flow.optimizer)
    for value, v in zip(before, (*flow.weights, *flow.optimizer.variables), strict=True):
        np.testing.assert_array_equal(value, ops.convert_to_numpy(v))
    flow.fit(points, batch_size=BATCH, verbose=0)
    assert int(flow.optimizer.iterations) == 3 + 8


REFUSED = {
    "SGD": (lambda: keras.optimizers.SGD(0.1), "received SGD"),
    "guarded SGD": (lambda: guarded(keras.optimizers.SGD(0.1)), "received SGD"),
    "scaled": (lambda: keras.optimizers.LossScaleOptimizer(adam()), "received LossScaleOptimizer"),
    "accumulation": (lambda: adam(gradient_accumulation_steps=2), "gradient_accumulation_steps=2"),
    "amsgrad": (lambda: adam(amsgrad=True), "amsgrad=True"),
    "overwriting": (lambda: adam(ema_overwrite_frequency=3), "ema_overwrite_frequency=3"),
}


@pytest.mark.parametrize(("optimizer", "words"), REFUSED.values(), ids=REFUSED)
def test_optimizers_that_the_host_waits_for_are_refused(optimizer, words):
    with pytest.raises(ValueError, match=words):
        of_vectors().compile(optimizer(), cuda_graph=True)


def test_it_does_not_go_with_a_compiler():
    with pytest.raises(ValueError, match="jit_compile=True"):
        of_vectors().compile("adam", cuda_graph=True, jit_compile=True)


def test_another_device_is_refused(monkeypatch):
    monkeypatch.delitem(graphs._GRAPHS, pretend_card.NAME)
    with pytest.raises(NotImplementedError, match="received a flow on card:0"):
        of_vectors().compile("adam", cuda_graph=True)


def test_a_file_does_not_keep_it(tmp_path, points):
    flow, _ = trained(of_vectors, OPTIMIZERS["guarded"], True, points)
    flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    assert not again.cuda_graph
    again.compile(again.optimizer, cuda_graph=True)
    again.fit(points, batch_size=BATCH, verbose=0)
    assert int(again.optimizer.iterations) == 8 * (EPOCHS + 1)


def test_logs_that_are_read_late_are_those_of_their_step(points):
    flow, _ = trained(of_vectors, OPTIMIZERS["guarded"], True, points)
    one, other = points[:BATCH], points[BATCH : 2 * BATCH]
    logs = flow.train_function([one])["loss"]
    at_once = float(logs)
    assert float(flow.train_function([other])["loss"]) != at_once
    assert float(logs) == at_once
    assert PretendGraph.replays == REPLAYS + 2
