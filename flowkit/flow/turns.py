"""Which calls of one flow may run at the same time, in several threads."""

import collections
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flowkit.engines import engine

Method = TypeVar("Method", bound=Callable[..., Any])


class Turns:
    """Answers may be given side by side; what changes the flow has it to itself.

    While it trains, an engine may have taken the weights out of the flow (JAX does). So `alone` waits for answers that
    are under way in other threads, and meanwhile both are refused to other threads, since training may take days. The
    thread that has the flow to itself may ask it things: callbacks do.

    A copy of a flow, and one from a file, has turns of its own.
    """

    def __init__(self):
        self._changed = threading.Condition()
        # Thread -> how many of its answers are under way, one inside another.
        self._answering = collections.Counter()
        self._alone = None  # (thread, what it calls)
        self.drawing = threading.Lock()  # a generator is read and moved on in two steps

    @contextlib.contextmanager
    def answer(self, name):
        """A scope for what only reads the flow."""
        me = threading.get_ident()
        with self._changed:
            if me not in self._answering:  # or it is a part of one that is under way, and waited for
                self._refuse_others(me, name)
            self._answering[me] += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering[me] -= 1
                if not self._answering[me]:
                    del self._answering[me]
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self, name):
        """A scope for what changes the flow, or takes it apart for a while."""
        me = threading.get_ident()
        with self._changed:
            self._refuse_others(me, name)
            outer, self._alone = self._alone, self._alone or (me, name)
            try:
                self._changed.wait_for(lambda: self._answering.keys() <= {me})
            except BaseException:  # Ctrl-C
                self._alone = outer
                raise
        try:
            yield
        finally:
            with self._changed:
                self._alone = outer

    def _refuse_others(self, me, name):
        if self._alone is not None and self._alone[0] != me:
            raise RuntimeError(
                f"{name} expects a flow that no other thread changes, received one that is inside {self._alone[1]} "
                "elsewhere. Wait for it to end, ask from a callback, or use a copy: keras.saving.load_model of a file."
            )

    def __reduce__(self):
        return Turns, ()


def answers(method: Method) -> Method:
    """A flow's method that may run beside others of its kind. What depends on weights alone is derived once in it."""

    @functools.wraps(method)
    def in_turn(self, *args, **kwargs):
        with self.turns.answer(method.__name__):
            return method(self, *args, **kwargs)

    return cast(Method, in_turn)


def put_back(flow: Any, name: str) -> None:
    """Before tensors of a flow are computed: weights that the engine holds in the middle of an epoch are put back.

    So a callback may ask for them. In another thread it is refused, as `name`.
    """
    if engine.holds_weights(flow):
        with flow.turns.answer(name):
            engine.settle(flow)


def alone(method: Method) -> Method:
    """A flow's method beside which no other thread may use the flow."""

    @functools.wraps(method)
    def in_turn(self, *args, **kwargs):
        with self.turns.alone(method.__name__):
            engine.settle(self)  # a callback may call it in the middle of an epoch
            return method(self, *args, **kwargs)

    return cast(Method, in_turn)
