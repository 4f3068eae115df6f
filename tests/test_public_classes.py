"""Every public class shows what it is made of, and its docstring has an example, which the doctests run."""

import importlib
import inspect

import keras
import numpy as np
import pytest

import flowkit
from flowkit import data, training

pytestmark = pytest.mark.one_engine


def public_classes():
    """Those of the front door and of its rooms, but for the engines' room, which is not for users."""
    found = set()
    for name, home in flowkit._PUBLIC.items():
        module = importlib.import_module(home or f"flowkit.{name}")
        things = [getattr(module, one) for one in ([name] if home else module.__all__)]
        found |= {thing for thing in things if inspect.isclass(thing) and name != "engines"}
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


# An error is shown by its message, and its example would be how to go wrong.
SHOWN = [kind for kind in public_classes() if not issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_a_class_has_a_repr_of_its_own_and_an_example(kind):
    whose = next(base for base in kind.__mro__ if "__repr__" in vars(base))
    assert whose.__module__.startswith("flowkit."), f"{kind.__name__} is shown as any {whose.__name__}"
    assert ">>> " in (kind.__doc__ or ""), f"{kind.__name__} has no example"


def test_arrays_and_what_has_no_repr_are_shown_by_their_kind():
    images = np.zeros((20, 8, 8, 1), "uint8")
    assert repr(data.batches(images, batch_size=4)) == "Batches(<20x8x8x1 uint8>, batch_size=4)"
    assert repr(training.GuardedOptimizer(keras.optimizers.Adam())) == "GuardedOptimizer(Adam(...))"
    assert repr(training.GlowAdamax(public_classes)) == "GlowAdamax(public_classes)"
