"""Maps that treat every entry by itself."""

from typing import Any

from keras import ops

from flowkit.contract import Bijector, ContractError, sum_event
from flowkit.contract.checks import pair


class Elementwise(Bijector):
    """A pointwise map: y_i = f(x_i). Its hooks return log|f'(x_i)| for each entry, and the class sums them.
    One for each channel, or a single one, counts for every entry it belongs to.

    >>> class Cube(Elementwise):
    ...     def _forward(self, x):
    ...         return x**3, ops.log(3 * x**2)
    ...     def _inverse(self, y):
    ...         x = ops.sign(y) * ops.abs(y) ** (1 / 3)
    ...         return x, -ops.log(3 * x**2)
    >>> y, log_det = Cube()(ops.full((2, 5), 2.0))
    >>> tuple(log_det.shape)
    (2,)
    """

    def run(
        self, x: Any, context: Any, inverse: bool, noise: Any = None, derived: Any = None
    ) -> tuple[Any, Any]:
        y, log_derivative = pair(super().run(x, context, inverse=inverse, noise=noise, derived=derived))
        return y, sum_event(ops.broadcast_to(self._for_each(log_derivative, y), ops.shape(y)))

    def _for_each(self, log_derivative, y):
        """The log-derivative, if it has the size of y, or one along an axis."""
        received = tuple(ops.shape(log_derivative)) if hasattr(log_derivative, "shape") else ()
        wanted = tuple(ops.shape(y))
        pairs = zip(reversed(received), reversed(wanted), strict=False)
        if len(received) > len(wanted) or any(
            isinstance(a, int) and isinstance(b, int) and a not in (b, 1) for a, b in pairs
        ):
            raise ContractError(
                "log-det",
                self,
                expected=f"a log-derivative for each entry, shape {wanted}, from its hooks",
                received=f"shape {received}",
                hint="The class sums over the event: return what is not summed.",
            )
        return log_derivative
