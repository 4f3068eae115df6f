"""Other libraries' bijectors, in flowkit's contract: torch ones on the torch engine, JAX ones on the JAX engine.

Nothing here imports those libraries: an object shows by its class's module whose it is.
"""

from flowkit.testing.adapters.adapted import NOT_APPLICABLE, Adapted
from flowkit.testing.adapters.conventions import convention


def adapt(obj, *, event_shape=None):
    """`obj` of torch.distributions, zuko, nflows, normflows, FlowJAX, distrax or TFP on JAX, as a `Bijector`.

    `event_shape` is that of its input, where it is not (3,). A map of torch.distributions, distrax or TFP
    that treats each number by itself is summed over the event. Clauses about Keras's saving, shapes and
    policies are reported as "not asked". Raises TypeError for an object of another library.
    """
    return Adapted(obj, convention(obj), tuple(event_shape or (3,)))


__all__ = ["NOT_APPLICABLE", "Adapted", "adapt"]
