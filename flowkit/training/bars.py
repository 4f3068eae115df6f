"""A bar that moves with each step, on a terminal and in a notebook."""

import html
import importlib
import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_PAUSE = 0.1  # seconds between two pictures in a notebook, each of which is a message


class TerminalBar:
    """A bar on a terminal, which is gone at the end."""

    def __init__(self, console: Any, steps: int | None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=steps, state="")
        self._progress.start()

    def begin(self, title: str) -> None:
        """Begin an epoch."""
        self._progress.reset(self._task, description=title, state="")

    def move(self, completed: int, state: str) -> None:
        """Show how many steps of the epoch are done, and what there is to say of them."""
        self._progress.update(self._task, completed=completed, state=state)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()


class NotebookBar:
    """A bar below a notebook's cell, which is gone at the end. It needs no widgets."""

    def __init__(self, steps: int | None) -> None:
        self._display = importlib.import_module("IPython.display")  # there in every notebook
        self._steps, self._title, self._shown = steps, "", 0.0
        self._place = self._display.display(self._drawn(0, ""), display_id=True)

    def begin(self, title: str) -> None:
        """Begin an epoch."""
        self._title = title
        self._place.update(self._drawn(0, ""))

    def move(self, completed: int, state: str) -> None:
        """Show how many steps of the epoch are done, and what there is to say of them."""
        if time.monotonic() - self._shown < _PAUSE and completed != self._steps:
            return
        self._shown = time.monotonic()
        self._place.update(self._drawn(completed, state))

    def stop(self) -> None:
        """Take the bar away."""
        self._place.update(self._display.HTML(""))

    def _drawn(self, completed, state):
        # Without numbers it moves by itself.
        of = f'max="{self._steps}" value="{completed}"' if self._steps else ""
        text = html.escape(f"{self._title}  {completed}/{self._steps or '?'}  {state}")
        return self._display.HTML(f"<progress {of}></progress> <code>{text}</code>")


def bar_for(console: Any, steps: int | None) -> TerminalBar | NotebookBar | None:
    """The bar that suits a `rich.console.Console`; None if lines are all that it takes, as those of a pipe."""
    if console.is_jupyter:
        return NotebookBar(steps)
    return TerminalBar(console, steps) if console.is_terminal else None
