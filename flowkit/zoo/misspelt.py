"""An argument that an architecture does not have: the error says which one may be meant."""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def told_if_misspelt(architecture: Callable[P, R]) -> Callable[P, R]:
    """`architecture`, all of whose arguments go by name, with a TypeError that says what to write in place of others.

    >>> from flowkit.zoo import nsf
    >>> nsf(feature=4)
    Traceback (most recent call last):
    TypeError: nsf has no argument 'feature': did you mean 'features'?
    """
    name, known = architecture.__name__, list(inspect.signature(architecture).parameters)

    @functools.wraps(architecture)
    def called(*args: P.args, **given: P.kwargs) -> R:
        if args:
            raise TypeError(
                f"{name} takes its arguments by name, {name}({known[0]}=...), received {args[0]!r}."
            )
        for word in given:
            if word not in known:
                near = difflib.get_close_matches(word, known, n=1)
                meant = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}."
                raise TypeError(f"{name} has no argument {word!r}: {meant}")
        return architecture(*args, **given)

    return called
