"""Progress of a training, for a reader at a terminal and for a log file."""

import datetime
import importlib.util
import math
import threading
import time
from typing import Annotated, Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from flowkit import distributed
from flowkit.contract.arguments import Count, words
from flowkit.contract.configured import Configured
from flowkit.engines import engine

_QUIET = 60  # seconds without a line, if there is no bar


class ProgressBar(Configured, keras.callbacks.Callback):
    """Epoch, bits/dim of images or the loss of rows, images or rows per second, first-step latency and time left.

    On a terminal, and in a notebook with ipywidgets, a bar moves with each step, and a line stays for each epoch;
    elsewhere there are the lines only, and one for each minute of a longer epoch. The first step includes compilation,
    and is timed by itself: it counts neither in images per second nor in the time left. A line announces it on a
    backend that compiles it. `close` a bar whose `fit` has raised.

    On JAX it waits for a step's numbers in other threads, so that training does not: a step whose numbers come after
    those of a later one is counted and not shown.

    Args:
        batch_size: images per step.
        of: "images" or "rows" of a table.
        console: a `rich.console.Console`; standard output by default.

    >>> ProgressBar(32, of="rows")
    ProgressBar(32, of='rows')
    """

    async_safe = True  # to Keras: steps may end in other threads, in any order

    def __init__(
        self,
        batch_size: Count,
        *,
        of: Annotated[str, words("images", "rows")] = "images",
        console: Console | None = None,
    ) -> None:
        super().__init__()
        self.batch_size, self.of = batch_size, of
        self._turn = threading.Lock()
        self._console = console or Console(quiet=not distributed.is_main())
        self.first_step = None
        self.images_per_second = math.nan
        self._bar: Progress | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        widgets = self._console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
        if self._console.is_terminal or widgets:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
            state = TextColumn("{task.fields[state]}")
            self._bar = Progress(*columns, state, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=self.params["steps"], state="")
            self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        self._timed_from = self._said = time.monotonic()
        self._timed_after, self._latest = 0, -1
        if self._bar:
            self._bar.reset(self._task, description=self._title(), state="")
        # TensorFlow traces a graph for each step that is not eager, whether or not XLA compiles it.
        compiles = self.model.jit_compile or engine.name == "tensorflow"
        if self.first_step is None and compiles and not self.model.run_eagerly:
            self._print("compiling the training step; this happens once")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        with self._turn:
            self._step_ended(batch, logs)

    def _step_ended(self, batch, logs):
        now, steps = time.monotonic(), self.params["steps"]
        if steps:  # several steps may be one to Keras, and the rest at the end as many
            batch = min(batch, steps - 1)
        late, self._latest = batch < self._latest, max(batch, self._latest)
        if self.first_step is None:
            self.first_step = now - self._timed_from
            self._timed_from, self._timed_after = now, batch + 1
            return
        timed = self._latest + 1 - self._timed_after
        if timed < 1:
            return
        self.images_per_second = timed * self.batch_size / max(now - self._timed_from, 1e-9)
        if late or (not self._bar and now - self._said < _QUIET):
            return
        self._said = now
        state = self._state(logs) + self._left(self.params["epochs"] - self._epoch, batch + 1)
        if self._bar:
            self._bar.update(self._task, completed=batch + 1, state=state)
        else:
            self._print(f"{self._title()}  step {batch + 1}{f'/{steps}' if steps else ''}  {state}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        line = f"{self._title()}  {self._state(logs)}"
        if self._timed_after:
            line += f"  first step {self.first_step:.1f} s"
        if skipped := (logs or {}).get("skipped"):
            line += f"  {skipped} step{'s' * (skipped != 1)} skipped, gradients not finite"
        self._print(line + self._left(self.params["epochs"] - epoch - 1))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the terminal, also if training ended with an error."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _print(self, line):
        self._console.print(line, highlight=False, soft_wrap=True)

    def _title(self):
        return f"epoch {self._epoch + 1}/{self.params['epochs']}"

    def _left(self, epochs, done=0):
        """Return in words the time for so many epochs, of which so many steps are done; "" if it is not known."""
        steps = (self.params["steps"] or 0) * epochs - done  # a generator has no length
        known = steps > 0 and math.isfinite(self.images_per_second)
        if not known:
            return ""
        seconds = round(steps * self.batch_size / self.images_per_second)
        return f"  {datetime.timedelta(seconds=seconds)} left"

    def _state(self, logs):
        logs = logs or {}
        wanted = "bits_per_dim" if self.of == "images" else "nll"
        name = wanted if wanted in logs else "loss"
        value = f"{logs[name]:.4f}" if name in logs else "?"
        shown = {"bits_per_dim": "bits/dim", "nll": "nats"}.get(name, name)
        held_out = f"  validation {logs['val_' + name]:.4f}" if f"val_{name}" in logs else ""
        speed = f"  {self.images_per_second:.0f} {self.of}/s" if math.isfinite(self.images_per_second) else ""
        return f"{shown} {value}{held_out}{speed}"
