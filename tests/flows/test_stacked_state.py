"""Weights, moments and averages of alike steps that lie in stacks while an epoch lasts: the same training on JAX."""

import gc
import itertools
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow, backends, training
from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling
from flowkit.conditioners import MLP

pytestmark = pytest.mark.skipif(backends.name() != "jax", reason="other engines keep each weight where it is")

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
EPS = np.finfo("float32").eps

OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "AdamW, averaged": lambda: keras.optimizers.AdamW(0.01, use_ema=True),
    "guarded, clipped": lambda: training.GuardedOptimizer(keras.optimizers.Adam(0.01, global_clipnorm=0.5)),
    "GlowAdamax, guarded and averaged": lambda: training.GuardedOptimizer(
        training.GlowAdamax(0.01, use_ema=True, ema_momentum=0.9)
    ),
    "scaled, guarded and summed up": lambda: keras.optimizers.LossScaleOptimizer(
        training.GuardedOptimizer(keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2))
    ),
}


class Look(keras.callbacks.Callback):
    """Reads the weights in the middle of an epoch, as checkpoints do."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            self.model.jax_state_sync()
            self.seen.append([ops.convert_to_numpy(v) for v in self.model.weights])


@pytest.fixture
def looping(monkeypatch):
    """Chains are loops, as where JAX does not compute on CPU."""
    from flowkit.backends.jax import parts

    monkeypatch.setattr(backends, "scans", lambda: True)
    monkeypatch.setattr(parts, "scans", lambda: True)


@pytest.fixture
def handed(monkeypatch):
    """What is in the state of each step that is compiled: "stacks" or "values"."""
    from flowkit.backends.jax import lean_step, stacks

    kinds, step = [], lean_step.lean_train_step

    def noted(model, own, state, data):
        kinds.append("stacks" if isinstance(state[0], stacks.Stacked) else "values")
        return step(model, own, state, data)

    monkeypatch.setattr(backends, "lean_train_step", noted)
    return kinds


def flow(backprop="stored", depth=3):
    keras.utils.set_random_seed(0)
    steps = [(ActNorm(), Conv1x1(), Coupling(MLP(hidden=[8]))) for _ in range(depth)]
    return Flow(Chain([part for step in steps for part in step], backprop=backprop))


def fitted(optimizer, *, stacked, model=None, callbacks=(), compiled=None, **options):
    """(weights and the optimizer's state, losses, what a look at the middle of each epoch saw)."""
    model = model or flow()
    model.compile(OPTIMIZERS[optimizer](), **compiled or {})
    look = Look()
    with pytest.MonkeyPatch.context() as patch:
        if not stacked:
            patch.setattr(type(model), "takes_stacks", False)
        history = model.fit(
            X, batch_size=8, epochs=2, verbose=0, callbacks=[look, *callbacks], **options
        ).history
    state = [ops.convert_to_numpy(v) for v in model.weights + model.optimizer.variables]
    return state, history, look.seen


def same(one, other, rounding=0.0):
    assert len(one[2]) == len(other[2]) > 0
    for a, b in zip(
        [*one[0], *itertools.chain(*one[2])], [*other[0], *itertools.chain(*other[2])], strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)
    for name in one[1]:
        np.testing.assert_allclose(one[1][name], other[1][name], rtol=rounding)


@pytest.mark.optimized
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_the_same(looping, handed, optimizer):
    stacked = fitted(optimizer, stacked=True)
    assert set(handed) == {"stacks"}
    # The norm of all gradients is a sum, in another order; the steps after it hand on how it was rounded.
    same(stacked, fitted(optimizer, stacked=False), rounding=64 * EPS if "clipped" in optimizer else 0.0)
    assert handed[-1] == "values"


@pytest.mark.optimized
@pytest.mark.parametrize("backprop", ["recompute", "reversible"])
def test_chains_that_save_memory_find_their_stacks_too(looping, handed, backprop):
    stacked = fitted("Adam", stacked=True, model=flow(backprop), validation_data=X[:8])
    assert set(handed) == {"stacks"}
    same(stacked, fitted("Adam", stacked=False, model=flow(backprop), validation_data=X[:8]))


@pytest.mark.optimized
def test_several_steps_at_once_take_stacks(looping, handed):
    stacked = fitted("Adam", stacked=True, compiled={"steps_per_execution": 3})
    assert set(handed) == {"stacks"}
    stacked[2].clear()  # looks come after other batches
    single = fitted("Adam", stacked=False)
    same((*stacked[:2], single[2]), single)


def test_a_checkpoint_is_taken_and_resumed_between_stacks(looping, tmp_path):
    def trained(path, epochs):
        keras.utils.set_random_seed(0)
        model = flow()
        model.compile(OPTIMIZERS["GlowAdamax, guarded and averaged"]())
        model.adapt(X)
        resume = training.Resume(path)
        start = resume.load(model)
        model.fit(
            X, batch_size=8, shuffle=False, epochs=epochs, initial_epoch=start, verbose=0, callbacks=[resume]
        )
        return [ops.convert_to_numpy(v) for v in model.weights + model.optimizer.variables]

    whole = trained(tmp_path / "whole.npz", 3)
    trained(tmp_path / "parts.npz", 1)
    for one, other in zip(whole, trained(tmp_path / "parts.npz", 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_optimizer_that_looks_at_whole_weights_gets_them_one_by_one(looping, handed):
    model = flow(depth=2)
    for optimizer in (keras.optimizers.Lamb(0.01), keras.optimizers.Adam(0.01, clipnorm=0.5)):
        model.compile(optimizer)
        model.fit(X, batch_size=40, verbose=0)
    assert set(handed) == {"values"}


def test_without_a_plan_lists_are_looked_at_when_keras_makes_them(looping, monkeypatch):
    from flowkit.backends.jax.stacked_state import Stacking

    entered, enter = [], Stacking._enter
    monkeypatch.setattr(Stacking, "_enter", lambda *given: entered.append(0) or enter(*given))
    model = flow(depth=2)
    model.compile(keras.optimizers.Lamb(0.01))
    model.fit(X, batch_size=8, epochs=2, verbose=0)
    assert len(entered) == 2
    model.fit(X, batch_size=8, verbose=0, callbacks=[Look()])  # puts weights back after three of five steps
    assert len(entered) == 4


def test_a_flow_that_cannot_be_asked_says_so_and_trains(looping, handed, monkeypatch):
    from flowkit.backends.jax import stacks

    def broken(asked):
        raise RuntimeError("nobody notes")

    monkeypatch.setattr(stacks, "noting", broken)
    model = flow(depth=2)
    model.compile("adam")
    with pytest.warns(UserWarning, match=r"not kept in stacks.*RuntimeError: nobody notes"):
        model.fit(X, batch_size=20, verbose=0)
    assert set(handed) == {"values"}


def test_what_a_flow_raises_when_it_is_asked_comes_through(looping):
    class Failing(Flow):
        def compute_loss(self, *args, **kwargs):
            raise LookupError("no such loss")

    model = Failing(flow(depth=2).bijector)
    model.adapt(X)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    before = state_of(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LookupError, match="no such loss"):
            model.fit(X, batch_size=20, verbose=0)
    unchanged(before, model)


def test_the_guard_is_asked_for_its_counts_and_the_stacks_stay(looping, monkeypatch):
    counts, synced = [], []

    class Count(training.StopWhenDiverged):
        def on_train_batch_begin(self, batch, logs=None):
            synced.clear()
            counts.append(self._count("skipped"))
            assert not synced

    model = flow(depth=2)
    model.compile(OPTIMIZERS["guarded, clipped"]())
    sync = type(model).jax_state_sync
    monkeypatch.setattr(type(model), "jax_state_sync", lambda self: synced.append(0) or sync(self))
    weights = np.ones(len(X), "float32")
    weights[:8] = np.nan
    model.fit(X, sample_weight=weights, batch_size=8, shuffle=False, verbose=0, callbacks=[Count()])
    assert synced
    assert counts == [0, 1, 1, 1, 1]


def test_a_step_of_ones_own_gets_keras_lists(looping):
    class Own(Flow):
        def train_step(self, state, data):
            assert all(isinstance(values, list) for values in state)
            return super().train_step(state, data)

    model = Own(flow(depth=2).bijector)
    model.compile("adam")
    model.fit(X, batch_size=40, verbose=0)


def test_weights_that_are_excluded_from_decay_stay_apart_from_the_others():
    from flowkit.backends.jax import twin

    weights = [keras.Variable(np.ones(3, "float32"), name=name) for name in ("kernel", "bias", "bias")]
    optimizer = keras.optimizers.AdamW(0.01)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert twin.may_lie_together(optimizer, weights[1:])
    assert not twin.may_lie_together(optimizer, weights[:2])


def test_weights_are_given_back_when_training_is_broken_off(looping):
    from flowkit.backends.jax import stacks

    model = flow(depth=2)
    model.compile("adam")
    model.fit(X, batch_size=20, verbose=0)
    step = model.train_function

    def failing(step):
        model.train_function = backends.giving_back(backends.around_steps(step, model), model)
        with pytest.raises(MemoryError, match="no memory left"):
            model.fit(X, batch_size=20, verbose=0)

    def broken(state, iterator):
        assert isinstance(state[0], stacks.Stacked)
        raise MemoryError("no memory left")

    before = state_of(model)
    failing(broken)
    unchanged(before, model)
    model.train_function = step
    model.fit(X, batch_size=20, verbose=0)

    def lost(state, iterator):
        for values in state[:3]:
            for entry in values.entries:
                entry.delete()
        raise MemoryError("no memory left")

    failing(lost)
    with pytest.raises(RuntimeError, match="were lost"):
        model.log_prob(X)


class Disk(keras.utils.PyDataset):
    """Batches of a disk that may fail."""

    reads = 99  # that succeed

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.reads -= 1
        if self.reads < 0:
            raise OSError("no such disk")
        return X[20 * index : 20 * index + 20]


def state_of(model):
    return [ops.convert_to_numpy(v) for v in model.weights + model.optimizer.variables]


def unchanged(before, model):
    for one, other in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("first", [True, False], ids=["before any step", "after an epoch"])
def test_weights_are_given_back_when_the_first_batch_does_not_come(looping, first):
    model, disk = flow(depth=2), Disk()
    model.adapt(X)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    if not first:
        model.fit(disk, verbose=0)
    before, disk.reads = state_of(model), 1  # before training `fit` looks at a batch
    with pytest.raises(OSError, match="no such disk"):
        model.fit(disk, verbose=0)
    unchanged(before, model)
    disk.reads = 99
    model.fit(disk, verbose=0)


def test_a_plan_is_made_anew_for_other_variables_of_an_optimizer(looping, handed):
    states = []
    for stacked in (True, False):
        model = flow(depth=2)
        with pytest.MonkeyPatch.context() as patch:
            if not stacked:
                patch.setattr(Flow, "takes_stacks", False)
            model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
            model.fit(X, batch_size=20, verbose=0)
            # The variable of the rate is none of the optimizer's any more.
            model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
            model.fit(X, batch_size=20, verbose=0)
        states.append(state_of(model))
    assert handed == ["stacks", "stacks", "values", "values"]
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_that_do_not_fit_a_layout_stay_where_they_are():
    from flowkit.backends.jax.stacks import Layout

    values, entries = [np.zeros(3), np.ones(3)], []
    with pytest.raises(ValueError, match="expected 3 values to be stacked, received 2"):
        Layout([(0, 2), (1,)], None).pack(values, entries)
    assert entries == []
    assert [v[0] for v in values] == [0.0, 1.0]


@pytest.mark.parametrize("made", ["no plan", 0, 3, 15])
def test_weights_are_given_back_when_stacks_are_not_made(looping, monkeypatch, made):
    from flowkit.backends.jax import stacked_state, stacks

    left, on_top = [made], stacks._on_top

    def interrupted(*values):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return on_top(*values)

    model = flow(depth=2)
    model.adapt(X)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    before = state_of(model)
    if made == "no plan":
        left[0] = 0
        monkeypatch.setattr(stacked_state, "planned", interrupted)
    else:
        monkeypatch.setattr(stacks, "_on_top", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, batch_size=20, verbose=0)
    unchanged(before, model)
    monkeypatch.undo()
    model.fit(X, batch_size=20, verbose=0)


def on_the_device():
    import jax

    gc.collect()
    return sum(array.nbytes for array in jax.live_arrays())


@pytest.mark.parametrize("validated", [True, False])
def test_no_step_has_values_beside_their_stacks(looping, monkeypatch, validated):
    from flowkit.backends.jax.drift import Listening

    seen, listen = [], Listening.__call__

    def count(self, state, iterator):
        seen.append(on_the_device())
        return listen(self, state, iterator)

    monkeypatch.setattr(Listening, "__call__", count)
    model = flow(depth=2)
    model.compile("adam")
    model.fit(X, batch_size=20, epochs=3, verbose=0, validation_data=X[:20] if validated else None)
    for _ in range(2):
        model.train_on_batch(X[:20])
    model.fit(X, batch_size=20, verbose=0)
    weights = sum(ops.convert_to_numpy(v).nbytes for v in model.trainable_variables)
    # Batches and metrics; the first two steps make the program.
    assert max(seen[2:]) - min(seen[2:]) < weights / 2


def test_a_flow_that_is_gone_has_left_the_device(looping):
    def trained():
        model = flow(depth=2)
        model.compile("adam")
        model.fit(X, batch_size=20, verbose=0)

    trained()
    before = on_the_device()
    trained()
    assert on_the_device() == before


def test_what_is_put_back_is_not_held_twice():
    import jax.numpy as jnp

    from flowkit.backends.jax.stacks import Layout, Stacked

    layout = Layout([(0, 2), (1,)], None)
    values = [jnp.zeros(3), jnp.ones(2), jnp.ones(3)]
    stacked = Stacked([], layout)
    layout.pack(values, stacked.entries)
    assert values == [None] * 3  # nor before
    assert [v.shape for v in stacked.entries] == [(2, 3), (2,)]
    assert [float(stacked[place][0]) for place in range(3)] == [0.0, 1.0, 1.0]
    assert [float(v[0]) for v in stacked] == [0.0, 1.0, 1.0]
    assert stacked.entries is None
    assert len(stacked) == 3
