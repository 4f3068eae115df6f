"""What a bijector declares that moves data along a velocity field."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HasVelocity(Protocol):
    """A bijector whose inverse solves dx/dt = v(x, t) from latents at t = 0 to data at t = 1.

    It has a method `velocity(x, t, context=None)`, for x of shape (batch, *event) and times t of shape (batch,), that
    answers with v, of the shape of x. It is called on a bijector that is built.

    >>> class Still:
    ...     def velocity(self, x, t, context=None):
    ...         return 0 * x
    >>> isinstance(Still(), HasVelocity)
    True
    """

    def velocity(self, x: Any, t: Any, context: Any = None) -> Any:
        """dx/dt at x and the times t, of the shape of x."""
