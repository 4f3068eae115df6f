"""Whether anybody may take gradients, on engines that do not tell: so unless it is an answer that is computed."""

import contextlib
import contextvars

_ANSWERING = contextvars.ContextVar("answering", default=False)


@contextlib.contextmanager
def answering():
    """A scope of whose results nobody takes gradients."""
    token = _ANSWERING.set(True)
    try:
        yield
    finally:
        _ANSWERING.reset(token)


def records_gradients():
    """Whether somebody may take gradients of what is computed now."""
    return not _ANSWERING.get()
