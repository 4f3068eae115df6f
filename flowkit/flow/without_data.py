"""Training without data: batches that hold the rows of a context, or nothing."""

import functools
import itertools
from typing import Any

import numpy as np
from keras import tree

from flowkit.contract.arguments import whole_number
from flowkit.flow import prepare
from flowkit.flow.batches import count
from flowkit.flow.context import check_context, refuse_unread
from flowkit.flow.group import check_division

_DRAWS = 256  # rows of context that are adapted to, as many as Glow's images


def refuse_data(flow: Any, method: str, passed: dict[str, Any]) -> None:
    """Raise ValueError if any value is passed to a method although the objective needs no data."""
    for word, value in passed.items():
        if value is not None and not flow.objective.needs_data:
            raise ValueError(
                f"{method} expects no {word}= for {type(flow.objective).__name__}, which learns from the flow's own "
                f"draws, received {type(value).__name__}: fit(steps_per_epoch=1000, batch_size=256), with context= for "
                "a conditional flow."
            )


def to_train(flow: Any, context: Any, options: dict[str, Any]) -> tuple[prepare.Packed, dict[str, Any]]:
    """Return batches that hold no data, as `prepare.to_train`.

    Raises ValueError if the length of an epoch is not known.
    """
    flow._event()
    refuse_unread(flow, context)
    context = check_context(flow, context)
    size = 32 if options["batch_size"] is None else whole_number(options["batch_size"], "batch_size", least=1)
    check_division(size, size)
    steps = options.get("steps_per_epoch")
    if steps is None and context is None:
        raise ValueError(
            f"fit expects steps_per_epoch= for {type(flow.objective).__name__}, which needs no data that would say how "
            "long an epoch is: fit(steps_per_epoch=1000, batch_size=256)."
        )
    steps = -(-count(context) // size) if steps is None else whole_number(steps, "steps_per_epoch", least=1)
    batches = _batches(context, size, options.get("initial_epoch", 0) * steps)
    changed = {"batch_size": None, "steps_per_epoch": steps, "shuffle": False}
    first = None, prepare.rows(context, _DRAWS)
    return prepare.Packed(first, batches), prepare.with_validation(flow, options | changed)


def _batches(context, size, start):
    """Yield batches without data, from number `start` on: the order of rows follows from the number alone."""
    nothing = np.zeros((size, 0), "float32")
    if context is None:
        yield from itertools.repeat((nothing,))
    n = count(context)
    # Of many rows it is not drawn for each batch.
    order = functools.lru_cache(maxsize=2)(lambda turn: np.random.default_rng([n, turn]).permutation(n))
    for number in itertools.count(start):
        places = np.arange(number * size, (number + 1) * size)
        dealt = np.array([order(place // n)[place % n] for place in places.tolist()])
        yield (prepare.pack(nothing, tree.map_structure(lambda c: c[dealt], context)),)  # noqa: B023
