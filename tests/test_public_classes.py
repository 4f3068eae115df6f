"""Every public class shows what it is made of, and its docstring has an example, which the doctests run."""

import importlib
import inspect

import keras
import numpy as np
import pytest

import flowkit
from flowkit import conditioners, data, training

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


def test_what_trains_and_what_is_trained_on_is_shown_as_the_call_that_makes_it():
    images = np.zeros((20, 8, 8, 1), "uint8")
    rows = data.batches(images, batch_size=4)
    rate = training.WarmUpCosine(0.1, total_steps=9, warmup_steps=3)
    shown = [
        (training.GlowAdamax(0.1), "GlowAdamax(0.1)"),
        (training.GlowAdamax(rate), "GlowAdamax(WarmUpCosine(0.1, total_steps=9, warmup_steps=3))"),
        (training.GuardedOptimizer(training.GlowAdamax(0.1)), "GuardedOptimizer(GlowAdamax(0.1))"),
        (training.GuardedOptimizer(keras.optimizers.Adam()), "GuardedOptimizer(Adam(...))"),
        (training.CSVLog("a.csv"), "CSVLog('a.csv')"),
        (training.Log("csv", "a", samples=4), "Log('csv', 'a', samples=4)"),
        (training.ProgressBar(4), "ProgressBar(4)"),
        (training.SampleGrid("grids", every=2), "SampleGrid('grids', every=2)"),
        (training.StopWhenDiverged(), "StopWhenDiverged()"),
        (training.Validation(images, keep_best=True), "Validation(<20x8x8x1 uint8>, keep_best=True)"),
        (rows, "Batches(<20x8x8x1 uint8>, batch_size=4)"),
        (
            training.Resume("a.npz", callbacks=[training.CSVLog("b.csv")], batches=rows),
            "Resume('a.npz', callbacks=[CSVLog('b.csv')], batches=Batches(<20x8x8x1 uint8>, batch_size=4))",
        ),
        (data.LazyImages(lambda rows: images[rows], images.shape), "LazyImages(shape=[20, 8, 8, 1])"),
        (conditioners.StandardizedContext(), "StandardizedContext()"),
    ]
    assert [repr(thing) for thing, _ in shown] == [text for _, text in shown]
