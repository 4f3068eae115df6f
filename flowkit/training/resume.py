"""Everything that training depends on, in one file that is always whole."""

import re
import warnings
from pathlib import Path

import keras
from keras import ops

from flowkit import backends
from flowkit.training.atomic import remove_leftovers
from flowkit.training.checkpoint_file import DAMAGE, plain, plain_dtype, read, write

FORMAT = 1

# What callbacks remember between epochs. A list of names, since the rest is not state: the sign of
# `min_delta`, for one, is flipped once in each process.
CALLBACK_STATE = ("best", "wait", "cooldown_counter", "stopped_epoch", "best_epoch")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, or of another model or engine."""


class Resume(keras.callbacks.Callback):
    """state(epoch k) = load(save(state(epoch k))), bit for bit: as if training had never stopped.

    At the end of each epoch it writes all variables of the model (weights and seed states), all of
    the optimizer (moments, averages, iterations), the number of epochs done, and what the listed
    `callbacks` remember, to one .npz file, which replaces the one before in a single step. The one
    before is kept as `<name>.previous.npz`, for the day the newest is damaged.

    Put it last in the list of callbacks, since others forget their state when training begins. Feed
    data whose order depends on the seed and the epoch alone (`flowkit.data.batches`), and pass
    `shuffle=False`. Same engine, machine and number of threads: same bits.

    Args:
        path: the .npz file.
        callbacks: those whose state is to be kept (`EarlyStopping`, `ReduceLROnPlateau`). The best
            weights that `EarlyStopping` holds in memory are not.
        data_seed: the seed of the data's order; a checkpoint with another one is refused.
        writer: False on all but one process of a group.

    Raises:
        CheckpointError: from `load`, one line, where the checkpoint belongs to another model,
            optimizer, engine or data seed, or neither it nor the previous one can be read.

    Example:
        >>> import tempfile, numpy as np
        >>> def train(epochs):
        ...     keras.utils.set_random_seed(0)
        ...     model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        ...     model.compile("adam", "mse")
        ...     resume = Resume(folder + "/checkpoint.npz")
        ...     start = resume.load(model)
        ...     x = np.ones((8, 2), "float32")
        ...     _ = model.fit(x, x[:, :1], epochs=epochs, initial_epoch=start, shuffle=False,
        ...                   verbose=0, callbacks=[resume])
        ...     return start
        >>> folder = tempfile.mkdtemp()
        >>> train(epochs=2), train(epochs=5), train(epochs=5)
        (0, 2, 5)
    """

    def __init__(self, path, *, callbacks=(), data_seed=None, writer=True):
        super().__init__()
        self.path = Path(path)
        if self.path.suffix != ".npz":
            raise ValueError(f"path: expected a file that ends in .npz, received {str(path)!r}.")
        self.callbacks = list(callbacks)
        self.data_seed = data_seed
        self.writer = writer
        self._restored = None

    @property
    def previous_path(self):
        return self.path.with_name(f"{self.path.stem}.previous.npz")

    def load(self, model):
        """Restore `model`, built and compiled, and return the number of epochs done.

        Without a checkpoint, changes nothing and returns 0. With the newest one damaged, warns and
        falls back to the previous one.
        """
        if self.writer:
            remove_leftovers(self.path)
        candidates = [path for path in (self.path, self.previous_path) if path.exists()]
        if not candidates:
            return 0
        arrays, meta = self._read_first_whole(candidates)
        self._check_origin(meta)
        variables = _named_variables(model)
        _check_match(self.path.name, arrays, variables)
        for key, variable in variables.items():
            variable.assign(arrays[key].view(_numpy_dtype(variable)))
        self._restored = meta["callbacks"]
        return meta["epoch"]

    def on_train_begin(self, logs=None):
        if self._restored is None:
            return
        expected = [type(callback).__name__ for callback in self.callbacks]
        received = [state["class"] for state in self._restored]
        if received != expected:
            raise CheckpointError(
                f"{self.path.name} holds the state of the callbacks {received}: expected {expected}"
            )
        for callback, state in zip(self.callbacks, self._restored, strict=True):
            vars(callback).update(state["values"])
        self._restored = None

    def on_epoch_end(self, epoch, logs=None):
        arrays = {
            key: plain(ops.convert_to_numpy(variable))
            for key, variable in _named_variables(self.model).items()
        }
        meta = {
            "format": FORMAT,
            "engine": backends.name(),
            "engine_version": backends.version(),
            "keras_version": keras.__version__,
            "epoch": epoch + 1,
            "data_seed": self.data_seed,
            "callbacks": [
                {"class": type(callback).__name__, "values": _remembered(callback)}
                for callback in self.callbacks
            ],
        }
        if self.writer:
            write(self.path, arrays, meta, keep=self.previous_path)

    def _read_first_whole(self, candidates):
        reasons = []
        for path in candidates:
            try:
                contents = read(path)
            except DAMAGE as error:
                reasons.append(f"{path.name}: {_reason(error)}")
                continue
            if reasons:
                warnings.warn(
                    f"{reasons[0]}: the checkpoint is damaged, going on from {path.name}, one epoch earlier",
                    stacklevel=3,
                )
            return contents
        raise CheckpointError(f"no checkpoint can be read ({'; '.join(reasons)}): start afresh")

    def _check_origin(self, meta):
        name = self.path.name
        if meta["format"] != FORMAT:
            raise CheckpointError(f"{name} has format {meta['format']}: expected {FORMAT}")
        if meta["engine"] != backends.name():
            raise CheckpointError(
                f"{name} was written by {meta['engine']}, this session runs {backends.name()}: "
                f"an exact continuation needs KERAS_BACKEND={meta['engine']}"
            )
        if meta["data_seed"] != self.data_seed:
            raise CheckpointError(
                f"{name} was written with data seed {meta['data_seed']}: received {self.data_seed}"
            )
        versions = {"keras": keras.__version__, backends.name(): backends.version()}
        then = {"keras": meta["keras_version"], meta["engine"]: meta["engine_version"]}
        if versions != then:
            warnings.warn(
                f"{name} was written with {_listed(then)}, this session has {_listed(versions)}: "
                "training goes on, but perhaps not bit for bit",
                stacklevel=3,
            )


def _reason(error):
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _listed(versions):
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _named_variables(model):
    """Position and path -> variable. Without the counters in `dense_3`, which differ by session."""
    optimizer = model.optimizer
    if optimizer is None:
        raise CheckpointError("the model has no optimizer: compile it before resuming")
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    named = {}
    for owner, variables in (("model", model.variables), ("optimizer", optimizer.variables)):
        for position, variable in enumerate(variables):
            path = re.sub(r"_\d+(?=[_/]|$)", "", variable.path)
            named[f"{owner}/{position:05d}/{path}"] = variable
    return named


def _check_match(name, arrays, variables):
    received = {key: (arrays[key].shape, str(arrays[key].dtype)) for key in arrays}
    expected = {key: (tuple(v.shape), str(plain_dtype(_numpy_dtype(v)))) for key, v in variables.items()}
    differing = [
        key for key in sorted(expected.keys() | received.keys()) if expected.get(key) != received.get(key)
    ]
    if not differing:
        return
    shown = "; ".join(
        f"{key}: expected {_shown(expected.get(key))}, received {_shown(received.get(key))}"
        for key in differing[:3]
    )
    more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
    raise CheckpointError(f"{name} belongs to another model or optimizer: {shown}{more}")


def _shown(described):
    return "nothing" if described is None else f"{described[1]} {described[0]}"


def _remembered(callback):
    state = {key: vars(callback)[key] for key in CALLBACK_STATE if key in vars(callback)}
    return {key: _number(value) for key, value in state.items()}


def _number(value):
    return value.item() if hasattr(value, "item") else value


def _numpy_dtype(variable):
    return ops.convert_to_numpy(variable).dtype
