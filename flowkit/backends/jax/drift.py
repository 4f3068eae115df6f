"""Drift of reversible chains as a value that a training step answers with, on JAX.

A callback is bound to the clients of this machine's devices: a program with one cannot be lowered for a device that is
elsewhere. So a step hands each chain a zero, its probe, and the chain says that the gradient of it is the drift.
Gradients come out of a backward pass as values, through loops and whatever else is around the chain.
"""

import collections
import contextlib
import contextvars

import jax.numpy as jnp
import numpy as np

NAME = "drift"  # in a step's logs

_probes: contextvars.ContextVar = contextvars.ContextVar("probes", default=())


def probes(reports):
    """A zero for each of the `reports`, to be differentiated by."""
    return [jnp.zeros((), "float32") for _ in reports]


@contextlib.contextmanager
def collecting(reports, zeros):
    """A scope in which chains that have one of the `reports` find their probe."""
    token = _probes.set(list(zip(reports, zeros, strict=True)))
    try:
        yield
    finally:
        _probes.reset(token)


def probe(report):
    """The probe of the chain with this `report`; None where nobody collects."""
    return next((zero for known, zero in _probes.get() if known == report), None)


class Listening:
    """`step(state, iterator)` of Keras's trainer, whose logs keep their drift from Keras and tell `reports` of it.

    The host does not wait for it: it looks at the drift of steps that are done. It does so before a step, which may
    write over the state that it is given: a report may raise, as warnings do that are errors.
    """

    def __init__(self, step, reports):
        self._step, self._reports = step, reports
        self._left = collections.deque()

    def __call__(self, state, iterator):
        while self._left and self._left[0].is_ready():
            self._tell(self._left.popleft())
        logs, state = self._step(state, iterator)
        if NAME in logs:
            logs = dict(logs)
            self._left.append(logs.pop(NAME))
        return logs, state

    def look(self):
        """Wait for what is left to be told."""
        try:
            for drift in self._left:
                self._tell(drift)
        finally:
            self.forget()

    def forget(self):
        """Tell nothing of what is left."""
        self._left.clear()

    def _tell(self, drift):
        errors = np.asarray(drift)
        if not (errors <= 0).all():
            for report, error in zip(self._reports(), errors, strict=True):
                if not error <= 0:
                    report(float(error))
