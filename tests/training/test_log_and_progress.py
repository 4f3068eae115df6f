import io
import types
from unittest import mock

import keras
import pytest
from rich.console import Console
from standin import compiled, rows

from flowkit import training

pytestmark = pytest.mark.one_engine

COMPILING = "compiling the training step; this happens once"


def fit(callbacks, *, epochs, initial_epoch=0, bad=()):
    model = compiled(training.GuardedOptimizer(keras.optimizers.Adam(0.25)))
    model.fit(
        rows(32, bad=bad),
        batch_size=8,
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        verbose=0,
        callbacks=[training.StopWhenDiverged(), *callbacks],
    )


class Late(keras.callbacks.Callback):
    """Log a number from the second epoch on."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch:
            logs["late"] = epoch


def test_one_row_for_each_epoch_and_a_resumed_log_drops_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "log.csv"
    fit([Late(), training.CSVLog(path)], epochs=4)
    log = training.read_log(path)
    assert set(log[0]) == {"epoch", "loss", "skipped", "late", "learning_rate", "seconds"}
    assert [row["late"] for row in log] == [None, 1, 2, 3]
    assert {row["learning_rate"] for row in log} == {0.25}
    assert log[3]["loss"] < log[0]["loss"]
    kept = path.read_text().splitlines()[:3]
    with open(path, "a") as file:
        file.write("5,1.0")  # killed in the middle of a row
    fit([Late(), training.CSVLog(path)], epochs=4, initial_epoch=2)
    assert [row["epoch"] for row in training.read_log(path)] == [1, 2, 3, 4]
    assert path.read_text().splitlines()[:3] == kept


def shown(*, terminal, bad=()):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200)
    progress = training.ProgressBar(8, console=console)
    fit([progress], epochs=2, bad=bad)
    return text.getvalue(), progress


def test_plain_lines_where_there_is_no_terminal():
    text, progress = shown(terminal=False, bad=[3])
    first, second = (line for line in text.splitlines() if line != COMPILING)
    assert first.startswith("epoch 1/2  loss ")
    assert "images/s" in first
    assert "first step" in first
    assert "1 step skipped" in first
    assert first.endswith("left")
    assert second.startswith("epoch 2/2  loss ")
    assert "left" not in second
    assert progress.first_step > 0
    assert progress.images_per_second > 0
    text = io.StringIO()  # an epoch of one step has no speed
    progress = training.ProgressBar(40, console=Console(file=text, force_terminal=False, width=200))
    model = compiled(training.GuardedOptimizer(keras.optimizers.Adam(0.1)))
    model.fit(rows(40), batch_size=40, epochs=1, verbose=0, callbacks=[progress])
    assert "epoch 1/1  loss" in text.getvalue()
    assert "images/s" not in text.getvalue()
    assert "nan" not in text.getvalue()


@pytest.mark.parametrize(("seconds", "lines"), [(0, ["2/4", "3/4", "4/4"]), (60, [])])
def test_without_a_terminal_a_long_epoch_says_how_it_is_getting_on(monkeypatch, seconds, lines):
    monkeypatch.setattr("flowkit.training.progress._QUIET", seconds)
    text, _ = shown(terminal=False)
    said = [line for line in text.splitlines() if line.startswith("epoch 1/2  step")]
    shown_steps = [line.split()[3] for line in said]
    if keras.backend.backend() == "jax":  # from other threads: one may be overtaken, and is left out
        assert shown_steps == sorted(shown_steps)
        assert set(shown_steps) <= {"1/4", *lines}
        assert shown_steps[-1:] == lines[-1:]
    else:
        assert shown_steps == lines
    assert all("images/s" in line and line.endswith("left") for line in said)


def test_a_bar_on_a_terminal_and_the_lines_stay():
    text, _ = shown(terminal=True)
    assert "epoch 1/2  loss" in text
    assert "━" in text
    assert "4/4" in text
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    model = compiled(training.GuardedOptimizer(keras.optimizers.Adam(0.1)))
    unknown_length = ((rows(8),) for _ in range(4))
    model.fit(unknown_length, verbose=0, callbacks=[training.ProgressBar(8, console=console)])
    assert "epoch 1/1" in console.file.getvalue()


def test_a_log_that_is_a_link_leaves_what_it_leads_to_as_it_was(tmp_path):
    path, precious = tmp_path / "log.csv", tmp_path / "precious.csv"
    precious.write_text("epoch\n1\n")
    path.symlink_to(precious)
    fit([training.CSVLog(path)], epochs=1)
    assert precious.read_text() == "epoch\n1\n"
    assert not path.is_symlink()


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_has_a_bar_if_it_has_widgets(monkeypatch, widgets):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: widgets or None)
    console, bar = Console(file=io.StringIO(), force_jupyter=False, width=100), mock.Mock()
    monkeypatch.setattr(console, "is_jupyter", True)
    monkeypatch.setattr(console, "print", lambda line, **options: None)
    monkeypatch.setattr("flowkit.training.progress.Progress", lambda *given, **more: bar)
    fit([training.ProgressBar(8, console=console)], epochs=1)
    assert bar.stop.called is widgets


@pytest.mark.every_engine
def test_what_the_engine_compiles_is_told_and_nothing_where_it_compiles_nothing():
    lines = shown(terminal=False)[0].splitlines()
    compiles = keras.backend.backend() != "torch"
    assert lines.count(COMPILING) == compiles
    assert lines[compiles].startswith("epoch 1/2  loss ")
    eager = compiled(keras.optimizers.Adam(0.1))
    eager.run_eagerly = True
    text = io.StringIO()
    bar = training.ProgressBar(8, console=Console(file=text, force_terminal=False, width=200))
    eager.fit(rows(16), batch_size=8, verbose=0, callbacks=[bar])
    assert COMPILING not in text.getvalue()


@pytest.mark.parametrize("at_once", [1, 4])
def test_several_steps_at_once_count_as_many(monkeypatch, at_once):
    """10 steps of 1 s, of which Keras tells the number of the last one of each call, beyond the epoch's end too."""
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("flowkit.training.progress.time", clock)
    text = io.StringIO()
    bar = training.ProgressBar(8, console=Console(file=text, force_terminal=False, width=200))
    bar.set_params({"steps": 10, "epochs": 2})
    bar.set_model(types.SimpleNamespace(run_eagerly=True, jit_compile=False))
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    for begun in range(0, 10, at_once):
        now[0] = min(begun + at_once, 10)
        bar.on_train_batch_end(begun + at_once - 1, {"loss": 1.0})
        if begun:
            assert bar.images_per_second == 8.0
    bar.on_epoch_begin(1)
    now[0] += at_once
    bar.on_train_batch_end(at_once - 1, {"loss": 1.0})
    assert bar.images_per_second == 8.0
    assert bar.first_step == at_once
