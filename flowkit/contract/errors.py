"""The error of a broken promise."""

import functools
from collections.abc import Iterable
from typing import Any


class ContractError(ValueError):
    """Error for a broken promise: the clause, the layer, what was expected and received, and what to do.

    `clause` is the promise's name ("shape", "context", "log-det", ...), `bijector` the layer (or its
    name). The message is one line; the parts are attributes.

    >>> raise ContractError("shape", "squeeze", expected="an even height", received="7")
    Traceback (most recent call last):
    flowkit.contract.errors.ContractError: squeeze broke 'shape': expected an even height, received 7.
    """

    # Keras wraps what a layer raises in several lines, and replaces a class it cannot make of one
    # string by RuntimeError; an error that carries this mark it lets through.
    _keras_call_info_injected = True

    def __init__(
        self, clause: str, bijector: Any, *, expected: object, received: object, hint: str | None = None
    ) -> None:
        self.clause, self.bijector = clause, bijector
        self.expected, self.received, self.hint = expected, received, hint
        message = f"{label(bijector)} broke '{clause}': expected {expected}, received {received}"
        message = message.removesuffix(".") + "."  # what came may be a sentence
        super().__init__(f"{message} {hint}" if hint else message)

    def __reduce__(self):
        # Between processes the layer travels as its name, and a subclass as this class.
        parts: dict[str, Any] = {"expected": self.expected, "received": self.received, "hint": self.hint}
        return functools.partial(ContractError, **parts), (self.clause, label(self.bijector))


def shape_error(
    layer: Any,
    expected: str,
    shape: Iterable[int | None],
    hint: str | None = None,
    clause: str = "event shape",
) -> ContractError:
    """Return the error for an event, latents or another `clause` of the wrong `shape`.

    >>> str(shape_error("squeeze", "an even height", (None, 7, 4, 1)))
    "squeeze broke 'event shape': expected an even height, received shape (None, 7, 4, 1)."
    """
    return ContractError(clause, layer, expected=expected, received=f"shape {tuple(shape)}", hint=hint)


def label(bijector):
    """Return what errors call a layer: its class, and its name."""
    if isinstance(bijector, str):
        return bijector
    return f"{type(bijector).__name__} {bijector.name!r}"
