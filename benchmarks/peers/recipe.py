"""How to make one bijector of another library, in several sizes, and what it maps between."""

from collections.abc import Callable
from dataclasses import dataclass

from flowkit.contract import Domain


@dataclass(frozen=True)
class Recipe:
    """`make(n)` is the object for events of shape `event(n)`, with random weights.

    `domain` and `codomain` where the object does not say, or says too much. `has_inverse` is False for a map
    whose library documents that it has none: it is asked about its forward direction only. `tolerance` is the
    error that the library documents, as of a solver: what is off by less is no finding.
    """

    make: Callable
    event: Callable = lambda n: (n,)
    domain: Domain | None = None
    codomain: Domain | None = None
    inverse: str = "analytic"
    has_inverse: bool = True
    tolerance: float = 0.0
    sizes: tuple[int, ...] = (3, 1, 2)  # the first is checked; the others are for making a finding smaller


def classes(module, base, leave_out=()):
    """The names of the subclasses of `base` that a module exports, without `base` itself."""
    found = vars(module)
    names = getattr(module, "__all__", [name for name in found if not name.startswith("_")])
    return sorted(
        name
        for name in names
        if isinstance(found.get(name), type)
        and issubclass(found[name], base)
        and found[name] is not base
        and name not in leave_out
    )
