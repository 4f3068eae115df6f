import os
import shutil

import keras
import numpy as np
import pytest
from standin import compiled, identical, rows, values

from flowkit import Flow, training
from flowkit.bijectors import Scale
from flowkit.data import batches
from flowkit.training import checkpoint

EPOCHS = 6


class Rows(keras.utils.PyDataset):
    """Batches in an order given by the epoch alone."""

    def __init__(self, epoch):
        super().__init__()
        self.x, self.epoch, self.began = rows(40), epoch, False

    def __len__(self):
        return 5

    def __getitem__(self, index):
        order = np.random.default_rng((7, self.epoch)).permutation(40)
        return (self.x[order[8 * index : 8 * index + 8]],)


class Epoch(keras.callbacks.Callback):
    def __init__(self, data):
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch, logs=None):
        self.data.epoch = epoch


class Crash(keras.callbacks.Callback):
    """Ends training the hard way, behind the checkpoint, where there is one."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):  # of the step that follows the checkpoint
        if (self.epoch, 5 - self.params["steps"] + batch) == self.place:
            raise InterruptedError


def train(path, epochs=EPOCHS, *, width=8, optimizer=None, extra=(), data_seed=7):
    """Train from the checkpoint at `path`, if any, up to `epochs`; all state that was reached."""
    keras.utils.set_random_seed(0)
    inner = optimizer or keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9, global_clipnorm=1.0)
    model = compiled(training.GuardedOptimizer(inner), width=width)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    resume = training.Resume(path, callbacks=[plateau], data_seed=data_seed)
    start = resume.load(model)
    data = Rows(start)
    model.fit(
        data,
        epochs=epochs,
        initial_epoch=start,
        shuffle=False,
        verbose=0,
        callbacks=[Epoch(data), plateau, *extra, resume],
    )
    return values([*model.variables, *model.optimizer.variables])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The state after all epochs, in one go."""
    return train(tmp_path_factory.mktemp("whole") / "a.npz")


@pytest.fixture(scope="module")
def of_three_epochs(tmp_path_factory):
    """A folder with the checkpoint of three epochs, and the one before."""
    folder = tmp_path_factory.mktemp("begun")
    train(folder / "a.npz", 3)
    return folder


@pytest.fixture
def begun(of_three_epochs, tmp_path):
    """The checkpoint of three epochs, in a folder of the test's own."""
    return shutil.copytree(of_three_epochs, tmp_path / "begun") / "a.npz"


def test_stopped_and_resumed_equals_uninterrupted(tmp_path, whole):
    path = tmp_path / "parts.npz"
    for epochs in (1, 3):
        train(path, epochs)
    with pytest.raises(InterruptedError):
        train(path, extra=[Crash((3, 2))])
    assert identical(whole, train(path))


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "no description", "pickle", "empty", "missing"])
@pytest.mark.one_engine
def test_falls_back_to_the_previous_file(begun, whole, damage):
    path = begun
    contents = bytearray(path.read_bytes())
    if damage == "missing":  # killed between the two renames
        path.unlink()
        assert identical(whole, train(path))
        return
    if damage == "cut":
        contents = contents[: len(contents) // 2]
    elif damage == "flip":
        array = contents.index(b"\x93NUMPY", len(contents) // 3)
        contents[array + 130] ^= 0xFF  # of its numbers, which follow 128 bytes
    else:
        contents = b""
    path.write_bytes(contents)
    if damage == "no description":
        np.savez(path, a=np.arange(3))
    elif damage == "pickle":
        np.savez(path, meta=np.array([{"a": 1}], dtype=object))
    elif damage == "header":  # of an array so large that zipfile sees its sum only later
        checkpoint.write(path, {"a": np.arange(10_000)}, {}, keep=None)
        path.write_bytes(path.read_bytes().replace(b"(10000,)", b"(10000,(", 1))
    with pytest.warns(UserWarning, match=r"a\.npz: .* damaged, going on from a\.previous\.npz"):
        resumed = train(path)
    assert identical(whole, resumed)


@pytest.mark.one_engine
def test_what_cannot_go_on_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"x")
    (tmp_path / "a.previous.npz").write_bytes(b"")
    flow = Flow(Scale(0.5))
    flow.compile(keras.optimizers.Adam())
    for load, match in (
        (lambda: train(path), r"no checkpoint can be read \(a\.npz"),
        (lambda: training.Resume(path).load(flow), r"not built: call adapt\(\) or build\(\)"),
    ):
        with pytest.raises(training.CheckpointError, match=match) as error:
            load()
        assert "\n" not in str(error.value)


def test_refuses_another_architecture_and_optimizer_and_names_what_differs(begun):
    with pytest.raises(
        training.CheckpointError,
        match=r"another model.*hidden/kernel float32: got \(4, 8\), expected \(4, 9\)",
    ) as error:
        train(begun, width=9)
    assert "\n" not in str(error.value)
    with pytest.raises(training.CheckpointError, match="another model or optimizer: optimizer/"):
        train(begun, optimizer=keras.optimizers.SGD(0.1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data seed": 8}, "got data seed 8, expected 7"),
        ({"backend": "abacus"}, "got backend abacus, expected "),
        ({"callbacks": []}, r"got callbacks \[\], expected \['ReduceLROnPlateau'\]"),
        ({"format": 1}, "got format 1, expected 4"),
    ],
)
def test_refuses_another_origin(begun, changed, message):
    arrays, meta = checkpoint.read(begun)
    checkpoint.write(begun, arrays, meta | changed, keep=None)
    with pytest.raises(training.CheckpointError, match=message):
        train(begun)


def test_another_version_is_said_and_goes_on(begun):
    arrays, meta = checkpoint.read(begun)
    checkpoint.write(begun, arrays, meta | {"versions": "keras 3.0.0"}, keep=None)
    with pytest.warns(UserWarning, match=r"written with keras 3\.0\.0.*perhaps not bit for bit"):
        train(begun, 3)


@pytest.mark.one_engine
def test_a_file_sets_what_callbacks_remember_and_no_other_attribute():
    meta = {"memory": [{"wait": 3, "min_lr": 5.0, "on_epoch_end": None}]}
    plateau = keras.callbacks.ReduceLROnPlateau("loss")
    checkpoint.remind([plateau], {}, meta)
    assert plateau.wait == 3
    assert plateau.min_lr == 0
    assert "on_epoch_end" not in vars(plateau)


class Counted(keras.layers.Layer):
    """The identity, with counts of types that not every engine has: JAX keeps int32, PyTorch int64."""

    def build(self, shape):
        for dtype in ("int64", "uint32"):
            self.add_weight(shape=(2,), dtype=dtype, initializer="ones", trainable=False, name=dtype)

    def call(self, x):
        return x


def test_types_that_numpy_or_the_engine_lacks_come_back_exactly(tmp_path):
    def model(value):
        layer = keras.layers.Dense(2, dtype="bfloat16", kernel_initializer="ones")
        model = keras.Sequential([keras.layers.Input((3,)), Counted(), layer])
        model.compile("sgd", "mse")
        layer.kernel.assign(layer.kernel * value)
        model.layers[0].weights[0].assign([int(10 * value), 4])
        return model

    first, second = model(0.3), model(1.0)
    resume = training.Resume(tmp_path / "a.npz")
    resume.set_model(first)
    resume.on_epoch_end(4)
    assert training.Resume(tmp_path / "a.npz").load(second) == 5
    assert identical(values(first.variables), values(second.variables))


def test_only_the_writer_writes(tmp_path):
    resume = training.Resume(tmp_path / "a.npz", writer=False)
    resume.set_model(compiled("adam"))
    resume.on_epoch_end(0)
    assert os.listdir(tmp_path) == []


def train_on_batches(path, crash=None, log=None, minutes=1e-9, x=None):
    """Train on `flowkit.data.batches`, with a checkpoint after every step; all state that was reached."""
    keras.utils.set_random_seed(0)
    model = compiled(training.GuardedOptimizer(keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9)))
    noisy = [lambda x, rng: x + rng.normal(size=x.shape).astype("float32")]
    ordered = batches(rows(40) if x is None else x, batch_size=8, seed=7, augment=noisy)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    resume = training.Resume(path, callbacks=[plateau], data_seed=7, batches=ordered, minutes=minutes)
    resume.load(model)
    callbacks = [
        training.StopWhenDiverged(),
        plateau,
        training.CSVLog(log or path.with_suffix(".csv")),
        Crash(crash),
    ]
    resume.fit(model, 3, callbacks)
    return values([*model.variables, *model.optimizer.variables])


@pytest.fixture(scope="module")
def whole_of_batches(tmp_path_factory):
    """The state after all epochs on batches, in one go, and the log."""
    path = tmp_path_factory.mktemp("batches") / "whole.npz"
    return train_on_batches(path, minutes=None), logged(path)


def logged(path):
    table = training.read_log(path.with_suffix(".csv"))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in table]


def test_a_checkpoint_after_each_step_of_an_epoch_is_exact(tmp_path, whole_of_batches):
    path = tmp_path / "parts.npz"
    with pytest.raises(InterruptedError):
        train_on_batches(path, crash=(0, 4), minutes=10)
    assert not path.exists()  # before the time has passed
    for epoch, step in ((0, 2), (1, 1), (1, 4), (2, 3)):
        with pytest.raises(InterruptedError):
            train_on_batches(path, crash=(epoch, step))
        _, meta = checkpoint.read(path)
        assert (meta["epoch"], meta["step"]) == (epoch, step)
    whole, log = whole_of_batches
    assert identical(whole, train_on_batches(path))
    assert logged(path) == log
    assert [row["epoch"] for row in logged(path)] == [1, 2, 3]


def test_going_on_within_an_epoch_needs_the_same_batches(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(InterruptedError):
        train_on_batches(path, crash=(1, 3))
    other = rows(40)
    other[17, 0] += 1e-6
    for x in (other, rows(40)[::-1]):
        with pytest.raises(training.CheckpointError, match=r"a\.npz: got rows with fingerprint"):
            train_on_batches(path, x=x)
    plateau = keras.callbacks.ReduceLROnPlateau("loss")
    model = compiled(training.GuardedOptimizer(keras.optimizers.Adam(0.05, use_ema=True)))
    with pytest.raises(training.CheckpointError, match=r"written after step 3 of epoch 2.*batches=flowkit"):
        training.Resume(path, callbacks=[plateau], data_seed=7).load(model)


@pytest.mark.one_engine
def test_another_fit_goes_on_from_the_epochs_that_are_done(tmp_path):
    def trained(*until):
        model = compiled(keras.optimizers.Adam(0.05))
        ordered, log = batches(rows(40), batch_size=8), []
        resume = training.Resume(tmp_path / f"{len(until)}.npz", batches=ordered)
        resume.load(model)
        seen = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: log.append(epoch))
        for epochs in until:
            resume.fit(model, epochs, [seen])
        return log, values([*model.variables, *model.optimizer.variables])

    (once, whole), (twice, parts) = trained(4), trained(1, 4)
    assert once == twice == [0, 1, 2, 3]
    assert identical(whole, parts)
