"""What one diagnostic has to say: a sentence, its numbers, and a figure that is drawn when it is asked for."""

import base64
import functools
import html
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowkit.diagnostics.drawing import png

_WORDS = {True: "as expected", False: "not as expected", None: "to look at"}


@dataclass(frozen=True)
class Finding:
    """What a diagnostic has found.

    - `sentence`: what it comes to, in words.
    - `numbers`: whole numbers, floats, lists and dicts of them, as JSON has them.
    - `passed`: whether it is as it would be for a flow that is right; None if there is nothing to expect.
    - `figure`: a matplotlib `Figure`, drawn at the first use.

    >>> from flowkit.diagnostics.drawing import blank
    >>> found = Finding("two", "There are 2.", {"count": 2}, None, blank)
    >>> found
    Finding('two': There are 2.)
    >>> found.figure.get_axes()
    []
    """

    name: str
    sentence: str
    numbers: dict[str, Any]
    passed: bool | None
    draw: Callable[[], Any] = field(repr=False)

    @functools.cached_property
    def figure(self) -> Any:
        """The matplotlib `Figure`."""
        return self.draw()

    @property
    def verdict(self) -> str:
        """`passed` in words."""
        return _WORDS[self.passed]

    def __repr__(self):
        return f"Finding({self.name!r}: {self.sentence})"

    def _repr_html_(self):
        picture = base64.b64encode(png(self.figure)).decode()
        title = html.escape(f"{self.name.replace('_', ' ')} ({self.verdict})")
        return (
            f"<h4>{title}</h4><p>{html.escape(self.sentence)}</p>"
            f'<img alt="{title}" style="max-width:100%" src="data:image/png;base64,{picture}">'
        )
