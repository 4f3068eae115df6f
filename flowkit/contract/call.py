"""The arguments of a call that are the same for all layers of a bijector."""

import inspect
import math
from typing import Annotated, NamedTuple

from flowkit.contract.arguments import real
from flowkit.contract.shapes import Context

Weight = Annotated[float, real(0, math.inf, "a finite number from 0 up")]


class Call(NamedTuple):
    """Arguments of a call of a bijector that are the same for all of its layers.

    - `context`, `inverse`: the context or None, and the direction.
    - `log_det`: False if the log-det is not needed: a layer may return 0 instead, as `Continuous` and `Coupling` do.
    - `for_export`: True for a graph that is written to a file: no loops of the backend, no second run for gradients.
    - `steps`: the number of steps of equal length that `Continuous` takes; None for its own. The classical Runge-Kutta
      method then replaces an adaptive one. `finer` doubles the number of steps.
    - `guidance`: the weight by which layers with an optional context move away from their output without it; None for
      their own weight, or none.

    >>> Call(inverse=True).turned().inverse
    False
    """

    context: Context = None
    inverse: bool = False
    log_det: bool = True
    for_export: bool = False
    steps: int | None = None
    finer: bool = False
    guidance: float | None = None

    def turned(self) -> "Call":
        """Return the same call of the other direction."""
        return self._replace(inverse=not self.inverse)

    def on(self, context: Context) -> "Call":
        """Return the same call with another context, which takes no guidance."""
        return self._replace(context=context, guidance=None)


# What a class has written of its own, found when the class is made


def declares_derived(layer_class: type, method: str) -> bool:
    """Return True if a class has `_derive` and its `method` declares `derived`, the result."""
    declared = inspect.signature(getattr(layer_class, method)).parameters
    return hasattr(layer_class, "_derive") and "derived" in declared


def goes_with(layer_class: type, name: str, hook: str) -> bool:
    """Return True if an attribute is defined in the class that defines the hook, or below.

    >>> class Parent:
    ...     def call(self): ...
    ...     twin = call
    >>> class Child(Parent):
    ...     def call(self): ...
    >>> goes_with(Parent, "twin", "call"), goes_with(Child, "twin", "call")
    (True, False)
    """
    for owner in layer_class.__mro__:
        if name in vars(owner):
            return True
        if hook in vars(owner):
            return False
    return False
