"""Trains small flows, in one process or as one of a group, and writes what came of it to FOLDER.

python scenarios.py FOLDER [NAME...], with DIE=n in the environment for a last process that is killed in step n. GIVEN
and DEAD are the folders of earlier ones.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from flowkit import distributed

distributed.start()

# isort: split
import keras  # noqa: E402
import numpy as np  # noqa: E402

from flowkit import data, engines, training  # noqa: E402
from flowkit.app import interrupt, main  # noqa: E402
from tests.distributed.small_flow import LABELS, X, flow, go_on  # noqa: E402
from tests.distributed.spread import spread, table_flow  # noqa: E402

engines.spare_tensorflow()

FOLDER, NAMES = Path(sys.argv[1]), sys.argv[2:]
GIVEN = Path(os.environ.get("GIVEN", FOLDER))  # where one process has run the same before
DEAD = Path(os.environ.get("DEAD", FOLDER))  # where one of two processes has died
DIE = int(os.environ.get("DIE", -1))
RANK = distributed.rank()
WRITTEN = set()  # what this process opens for writing, makes, renames or removes in FOLDER
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate")


def _note_changes(event, given):
    if event == "open":
        path, _, flags = given
        paths = [path] if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else []
    else:
        elsewhere = event != "os.truncate" and given[-1] != -1  # relative to an open folder, as `rmtree` goes
        paths = given[:2] if event in CHANGES and not elsewhere else []
    for path in paths:
        if isinstance(path, str | bytes | os.PathLike):
            path = Path(os.path.abspath(os.fsdecode(path)))
            if FOLDER in path.parents:
                WRITTEN.add(path.relative_to(FOLDER).as_posix())


sys.addaudithook(_note_changes)


class Remember(keras.callbacks.Callback):
    """What a callback is told, at steps and at the ends of epochs."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        if len(self.losses) == DIE and distributed.world() - 1 == RANK:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_end(self, epoch, logs=None):
        self.losses += [float(logs["loss"]), float(logs["nll"])]


class Poison(data.Batches):
    """A batch of which the rows of the last process are so large that its loss is no number."""

    def __getitem__(self, index):
        (x,) = super().__getitem__(index)
        if self.epoch == 1 and index == 1 and distributed.world() - 1 == RANK:
            x = x * np.float32(1e30)
        return (x,)


def values(flow):
    return np.concatenate([np.asarray(weight, "float64").ravel() for weight in flow.get_weights()])


def train(name, flow, batches, until=(3,), handed=None):
    """Until 3 epochs are done, in one call or several; `handed` names what another run has left on its way there."""
    if handed is not None and handed.parent != FOLDER and distributed.is_main():
        for kind in ("npz", "csv"):
            shutil.copy(handed.with_suffix(f".{kind}"), FOLDER / f"{name}.{kind}")
    mine = distributed.mine(np.arange(len(X)))
    flow.adapt(X[mine], None if batches.context is None else LABELS[mine])
    first = values(flow)
    told = Remember()
    guard = training.StopWhenDiverged(5)
    for epochs in until:
        go_on(flow, FOLDER / f"{name}.npz", batches, epochs, [guard, told])
        if name == "resumed" and epochs == 1 and distributed.is_main():
            for kind in ("npz", "csv"):
                shutil.copy(FOLDER / f"{name}.{kind}", FOLDER / f"handed.{kind}")
    skipped = int(keras.ops.convert_to_numpy(training.guard.guarded(flow.optimizer).skipped))
    np.savez(
        FOLDER / f"{name}-{RANK}", first=first, weights=values(flow), losses=told.losses, skipped=skipped
    )


def noise():
    """What draws: the seed is stored once, and the rows of two processes do not get the same numbers."""
    noisy, images = flow(n_bits=8), np.random.default_rng(1).integers(0, 256, (8, 4, 4, 2), dtype="uint8")
    noisy.adapt(distributed.mine(images))
    state, seeds, drawn = noisy.dequantize.noise.state, keras.random.SeedGenerator(5), []

    def draw(logs):
        seeds.state.assign(keras.ops.convert_to_numpy(state))
        drawn.append(keras.ops.convert_to_numpy(keras.random.uniform((4, 5), seed=seeds)))

    before = keras.ops.convert_to_numpy(state).copy()
    begin = keras.callbacks.LambdaCallback(on_train_begin=draw)
    noisy.fit(distributed.mine(images), batch_size=4, verbose=0, callbacks=[begin])
    np.savez(FOLDER / f"noise-{RANK}", before=before, after=keras.ops.convert_to_numpy(state), drawn=drawn[0])


def validated():
    """Losses of rows that are held out, a half of them in each of two processes."""
    asked, mine = flow(), distributed.mine(np.arange(16))
    asked.adapt(distributed.mine(X))
    told = asked.fit(data.batches(X[:16], batch_size=8), epochs=2, verbose=0, validation_data=X[16:][mine])
    np.savez(FOLDER / f"validated-{RANK}", losses=told.history["val_loss"])


# Of `flowkit train`, on the smallest Glow that there is.
SETTINGS = {
    "model.levels": 1,
    "model.steps": 1,
    "model.width": 4,
    "data.limit": 80,
    "training.batch_size": 32,
    "training.adapt_batch": 32,
    "training.ema": 0.9,
}
HELD_OUT = {
    "data.validation": 16,
    "training.learning_rate": 1e-50,  # which float32 takes for 0: the first epoch stays the best
    "training.schedule": "constant",
    "training.warmup_steps": 0,
    "training.early_stopping": 2,
    "sampling.count": 4,
}


def command(name, epochs, **settings):
    """The exit code of `flowkit train` into FOLDER/NAME."""
    given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    print(f"> {name}", flush=True)
    code = main(["train", "glow/digits", "--out", str(FOLDER / name), "--epochs", str(epochs), *given])
    np.savez(FOLDER / f"{name}-{RANK}", code=code)


def refused():
    """A folder that is taken."""
    if distributed.is_main():
        (FOLDER / "refused").mkdir(exist_ok=True)
        (FOLDER / "refused" / "recipe.toml").touch()
    distributed.barrier()
    command("refused", 2, **SETTINGS)


def terminated():
    """SIGTERM that reaches one process, several times, as a launcher hands on what a cluster has sent to all.

    It comes where the command asks for it: from a thread, some of it would meet the next command.
    """
    asked, checkpoint = interrupt.heard, FOLDER / "terminated" / "checkpoint.npz"

    def heard():
        if RANK == 1 and checkpoint.exists():
            for _ in range(3):
                signal.raise_signal(signal.SIGTERM)
        return asked()

    more = {"training.checkpoint_minutes": 0.01, "sampling.count": 0}
    interrupt.heard = heard
    try:
        command("terminated", 100_000, **SETTINGS, **more)
    finally:
        interrupt.heard = asked


def trained():
    """A run to its end, which early stopping brings. It leaves the group, so little comes after it."""
    command("trained", 8, **SETTINGS, **HELD_OUT)


def commands():
    """Commands that ask a trained flow, which all share: samples and a score, and three that are refused."""
    table, drawn = FOLDER / "table.keras", FOLDER / "drawn.csv"
    asked = table_flow()
    if distributed.is_main():
        asked.save(table)
    distributed.barrier()
    told, last = {}, distributed.world() - 1 == RANK
    for name, words in {
        "sampled": ["sample", table, "-n", 11, "-o", drawn],
        "evaluated": ["evaluate", table, "--data", drawn],
        "nowhere": ["sample", FOLDER / "nowhere.keras"],
        "gone": ["sample", FOLDER / "gone.keras" if last else table, "-o", drawn],
        "unfit": ["evaluate", table, "--data", "digits"],
    }.items():
        print(f"> {name}", flush=True)
        told[name] = main([str(word) for word in words])
    print("> end", flush=True)
    np.savez(FOLDER / f"commands-{RANK}", **told)


def pieces():
    """Rows of which each process has another number."""
    mine = np.arange([0, 700][RANK]) + 0.5  # of the main process none
    np.savez(FOLDER / f"pieces-{RANK}", given=distributed.gather(mine), none=distributed.gather(np.zeros(0)))


def left():
    """What a process knows of itself once all have left the group."""
    np.savez(
        FOLDER / f"left-{RANK}",
        rank=distributed.rank(),
        world=distributed.world(),
        main=distributed.is_main(),
    )


SCENARIOS = {
    "stored": lambda: train("stored", flow(), data.batches(X, batch_size=8)),
    "reversible": lambda: train("reversible", flow(backprop="reversible"), data.batches(X, batch_size=8)),
    "nan": lambda: train("nan", flow(), Poison(X, batch_size=8)),
    "labels": lambda: train(
        "labels", flow(num_classes=3, scaled=True), data.batches(X, LABELS, batch_size=8)
    ),
    "resumed": lambda: train("resumed", flow(), data.batches(X, batch_size=8), until=(1, 3)),
    "moved": lambda: train("moved", flow(), data.batches(X, batch_size=8), handed=GIVEN / "handed"),
    "again": lambda: train("again", flow(), data.batches(X, batch_size=8), handed=DEAD / "again"),
    "noise": noise,
    "spread": lambda: spread(FOLDER / f"spread-{RANK}"),
    "commands": commands,
    "pieces": pieces,
    "validated": validated,
    "refused": refused,
    "terminated": terminated,
    "trained": trained,
    "left": left,
}
OF_SEVERAL = ("moved", "again", "noise", "refused", "terminated")

for name in NAMES or SCENARIOS:
    if distributed.world() > 1 or name not in OF_SEVERAL:
        SCENARIOS[name]()
(FOLDER / f"written-{RANK}.txt").write_text("\n".join(sorted(WRITTEN)))
