"""Other libraries' bijectors, in flowkit's contract: torch ones on the torch engine, JAX ones on the JAX engine.

Nothing here imports those libraries: an object shows by its class's module whose it is.
"""

from collections.abc import Sequence
from typing import Any

from flowkit.contract import Domain
from flowkit.testing.given.adapters.adapted import NOT_APPLICABLE, Adapted
from flowkit.testing.given.adapters.conventions import convention


def adapt(
    obj: Any,
    *,
    event_shape: Sequence[int] = (3,),
    domain: Domain | None = None,
    codomain: Domain | None = None,
    inverse: str = "analytic",
    solver_gradients: bool = True,
) -> Any:
    """`obj`, a bijector of torch.distributions, zuko, nflows, normflows, FlowJAX, distrax or TFP on JAX,
    as a `Bijector`.

    `event_shape` is that of one input, without the batch. A map that treats each number by itself is summed
    over the event. `domain` and `codomain` say what it maps from and onto, if the object does not say so
    itself (torch.distributions and zuko do) and it is not all real numbers. `inverse="iterative"`: its
    inverse is found by search, and `solver_gradients=False` that no gradients pass through that. It is checked with the
    weights that it has.
    Clauses about Keras's saving, shapes and policies are reported as "not asked: not applicable".
    Raises TypeError for an object of another library.
    """
    found = convention(obj)
    return Adapted(
        obj,
        found,
        event_shape,
        domain=found.domain(obj) if domain is None else domain,
        codomain=found.codomain(obj) if codomain is None else codomain,
        inverse=inverse,
        solver_gradients=solver_gradients,
    )


__all__ = ["NOT_APPLICABLE", "Adapted", "adapt"]
