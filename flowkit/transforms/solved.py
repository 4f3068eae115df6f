"""Transforms whose inverse is solved."""

from typing import Any, ClassVar

from keras import ops

from flowkit.contract import Tensor
from flowkit.numerics import maximum, minimum, solve_increasing
from flowkit.transforms.transform import Transform


class Solved(Transform):
    """A transform without a formula for its inverse, which is solved between two numbers that have it between them.

    Authors write `prepare`, `forward`, and `bracket(y, *prepared)`: numbers (low, high) with
    forward(low) <= y <= forward(high), up to rounding. Gradients of the inverse are exact, for first derivatives.

    >>> class Cubic(Solved):
    ...     parameters = 1
    ...     def prepare(self, h):
    ...         return (ops.square(h[..., 0, :]),)
    ...     def forward(self, x, a):
    ...         return x + a * x**3, ops.log(1 + 3 * a * x**2)
    ...     def bracket(self, y, a):
    ...         return -ops.abs(y), ops.abs(y)
    >>> cubic = Cubic()
    >>> x, _ = cubic.inverse(ops.full((1, 1), 10.0), *cubic.prepare(ops.ones((1, 1, 1))))
    >>> float(x[0, 0])
    2.0
    """

    inverse_kind: ClassVar[str] = "iterative"

    def bracket(self, y: Tensor, *prepared: Tensor) -> tuple[Any, Any]:
        """Return (low, high), for each entry, between which its x lies."""
        raise NotImplementedError(f"{type(self).__name__} has no bracket(self, y, *prepared).")

    def inverse(self, y: Tensor, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        def f(x):
            return self.forward(x, *prepared)

        low, high = self.bracket(y, *prepared)
        room = 1e-3 * (1 + ops.abs(low) + ops.abs(high))  # for the rounding of the ends
        x = solve_increasing(f, y, low - room, high + room)
        return x, -f(x)[1]


class StraightTails(Solved):
    """A function on [-bound, bound] that goes on in straight lines, whose slopes are those at its ends.

    Authors write `prepare` and `within(x, *prepared)`, which gives (y, dy/dx) for x in the interval, with dy/dx > 0.

    >>> class Square(StraightTails):
    ...     parameters, bound = 1, 1.0
    ...     def prepare(self, h):
    ...         return (ops.sigmoid(h[..., 0, :]) / 4,)
    ...     def within(self, x, a):
    ...         return x + a * x**2, 1 + 2 * a * x
    >>> square = Square()
    >>> prepared = square.prepare(ops.zeros((1, 1, 1)))  # a = 1/8
    >>> y, log_slope = square.forward(ops.full((1, 1), 3.0), *prepared)
    >>> float(y[0, 0])  # 1 + 1/8, and 2 more with the slope 5/4
    3.625
    >>> round(float(square.inverse(y, *prepared)[0][0, 0]), 5)
    3.0
    """

    bound: float

    def within(self, x: Tensor, *prepared: Tensor) -> tuple[Any, Any]:
        """Return (y, dy/dx), for entries between -bound and bound."""
        raise NotImplementedError(f"{type(self).__name__} has no within(self, x, *prepared).")

    def forward(self, x: Tensor, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        inside = ops.clip(x, -self.bound, self.bound)
        y, slope = self.within(inside, *prepared)
        return y + slope * (x - inside), ops.log(slope)

    def bracket(self, y: Tensor, *prepared: Tensor) -> tuple[Any, Any]:
        # Where the lines have y, if y is beyond the ends.
        first, first_slope = self.within(ops.full_like(y, -self.bound), *prepared)
        last, last_slope = self.within(ops.full_like(y, self.bound), *prepared)
        low = minimum(y - first, 0.0) / first_slope - self.bound
        high = maximum(y - last, 0.0) / last_slope + self.bound
        return low, high
