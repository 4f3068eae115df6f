"""What a recorded step cannot do for itself: it draws no numbers, since the host seeds each draw, and warns of nothing.

So a step that runs eagerly is watched first. Of each draw it is noted what was asked for, and a place is made for what
it gives. While the step is recorded the draws answer with their places; before each replay they are made again, in the
same order and by the next seeds, and copied there. What would be reported is kept on the device until somebody looks.
"""

import contextlib
import functools
import threading
from typing import Any, NamedTuple

import keras
import torch
from keras.src.backend.torch import random

from flowkit.backends.torch.seeds import known_seeds

_DRAWS = (
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
)
_ALONE = threading.Lock()  # Keras's functions are stood in for, in the whole process
_now = None  # the rehearsal that is noting or standing in: the backward pass has a thread of its own


class _Draw(NamedTuple):
    asked: tuple  # (name, positional arguments, keywords)
    again: Any
    place: torch.Tensor


class _Report(NamedTuple):
    worst: torch.Tensor
    tolerance: float


class DrawsDiffer(RuntimeError):
    """A step draws differently from the one that was watched."""


class Rehearsal:
    """The draws and the reports of one training step."""

    def __init__(self):
        self._draws, self._reports = [], {}  # in their order; by whom they tell
        self._standing = self._inside = False
        self._drawn = 0

    @contextlib.contextmanager
    def noting(self):
        """A scope of one step that runs eagerly."""
        global _now
        with _ALONE:
            own = {name: getattr(random, name) for name in _DRAWS}
            thread = threading.get_ident()
            _now = self
            try:
                for name, function in own.items():
                    setattr(random, name, functools.partial(self._answer, thread, name, function))
                yield
            finally:
                _now = None
                for name, function in own.items():
                    setattr(random, name, function)

    @contextlib.contextmanager
    def standing_in(self):
        """A scope of the same step, in which nothing is drawn and nothing is reported.

        Raises DrawsDiffer if it asks for other draws.
        """
        self._standing, self._drawn = True, 0
        try:
            with self.noting():
                yield
            if self._drawn < len(self._draws):
                self._refuse_others(f"{self._drawn} draws, {len(self._draws)} before")
        finally:
            self._standing = False

    def draw(self):
        """Before a replay: all draws again."""
        with torch.no_grad():
            for draw in self._draws:
                draw.place.copy_(draw.again())

    def look(self):
        """Report what the replays since the last look have kept. The host waits for the device."""
        for tell, report in self._reports.items():
            worst = float(report.worst)
            report.worst.zero_()
            if not worst <= report.tolerance:
                tell(worst)

    def _answer(self, thread, name, own, *args, **kwargs):
        # Somebody else's; or a draw that is made of others, as truncated_normal.
        if threading.get_ident() != thread or self._inside:
            return own(*args, **kwargs)
        if name == "dropout":
            return self._dropout(own, *args, **kwargs)
        return self._drawn_or_place((name, args, kwargs), own)

    def _dropout(self, own, inputs, rate, noise_shape=None, seed=None):
        """Keras's, of which the numbers alone are a draw. Where torch draws them, it does so in a replay as well."""
        seeded = isinstance(seed, keras.random.SeedGenerator) and seed._initial_seed is not None
        if not 0 < rate < 1 or not (seeded or isinstance(seed, int) or noise_shape is not None):
            return own(inputs, rate, noise_shape=noise_shape, seed=seed)
        shape = tuple(inputs.shape)

        def kept(shape, rate, noise_shape, seed):
            return own(torch.ones(shape, device=inputs.device), rate, noise_shape=noise_shape, seed=seed) != 0

        asked = "dropout", (shape, rate), {"noise_shape": noise_shape, "seed": seed}
        kept = self._drawn_or_place(asked, kept)
        return torch.where(kept, inputs / (1.0 - rate), torch.zeros_like(inputs))

    def _drawn_or_place(self, asked, own):
        name, args, kwargs = asked
        if self._standing:
            draw = self._draws[self._drawn] if self._drawn < len(self._draws) else None
            if draw is None or draw.asked != asked:
                self._refuse_others(f"keras.random.{name} as draw number {self._drawn + 1}")
            self._drawn += 1
            return draw.place
        if any(torch.is_tensor(given) for given in (*args, *kwargs.values())):
            raise NotImplementedError(
                f"cuda_graph=True expects draws that depend on seeds alone, received keras.random.{name} of a tensor "
                "inside a training step. Leave cuda_graph out."
            )
        again = functools.partial(own, *args, **self._with_known_seed(name, kwargs))
        self._inside = True
        try:
            value = own(*args, **kwargs)
        finally:
            self._inside = False
        self._draws.append(_Draw(asked, again, torch.empty_like(value)))
        return value

    def _with_known_seed(self, name, kwargs):
        seed = kwargs.get("seed")
        if not isinstance(seed, keras.random.SeedGenerator):
            return kwargs
        if not hasattr(seed, "state"):
            raise NotImplementedError(
                f"cuda_graph=True expects draws by a SeedGenerator that stays, received keras.random.{name} by one "
                "that is made in each step, as flow.draw(seed=0) does. Leave that seed out."
            )
        return {**kwargs, "seed": known_seeds(seed)}

    def _refuse_others(self, received):
        raise DrawsDiffer(
            f"cuda_graph=True expects steps that draw alike, received {received}. Leave cuda_graph out."
        )

    def _keeps(self, error, tolerance, tell):
        if not self._standing:
            self._reports.setdefault(tell, _Report(torch.zeros_like(error), tolerance))
            return False
        if tell not in self._reports:  # of another flow, in another thread
            return False
        worst = self._reports[tell].worst
        worst.copy_(torch.maximum(worst, error))
        return True


def kept_for_later(error, tolerance, tell):
    """Whether `tell(error)` is put off, for an error above the tolerance: in a step that is being recorded."""
    return _now is not None and _now._keeps(error.detach(), tolerance, tell)
