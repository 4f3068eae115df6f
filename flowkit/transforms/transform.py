"""The base class of every transform, and that of transforms whose inverse is solved for."""

from typing import Any, ClassVar

from keras import ops

from flowkit.contract import Domain, Tensor
from flowkit.contract.configured import Configured
from flowkit.numerics import maximum, minimum, solve_increasing


class Transform(Configured):
    """y_i = f(x_i; h_i) for each entry by itself, increasing in x_i; f has no weights of its own.

    A conditioner answers with `parameters` raw numbers for each entry, of any size and sign; raw numbers that are all 0
    give the identity, or a map that the subclass names. Authors write three methods:

    - `prepare(h)`: what both directions use, a tuple of tensors, from raw numbers `h` of shape
      (batch, *places, parameters, channels);
    - `forward(x, *prepared)` and `inverse(y, *prepared)`: the image of each entry, and the logarithm of the derivative
      of the direction that was called. `x` is (batch, *places, channels), as both answers are; for `log_det` "zero" the
      second may be the number 0.0.

    `domain` and `codomain` are the sets of each entry; `log_det` ("zero", "constant", "varying") and `inverse_kind`
    ("analytic", or "iterative" for one that is solved) are the words of `BijectorSpec`, as is `bounded`. A transform is
    known by its arguments, which it keeps under their own names; register it with
    `keras.saving.register_keras_serializable` to have it in files.

    >>> from keras import ops
    >>> class Power(Transform):
    ...     parameters, domain, codomain = 1, Domain.POSITIVE, Domain.POSITIVE
    ...     def prepare(self, h):
    ...         return (h[..., 0, :],)
    ...     def forward(self, x, log_power):
    ...         power = ops.exp(log_power)
    ...         return x**power, log_power + (power - 1) * ops.log(x)
    ...     def inverse(self, y, log_power):
    ...         return self.forward(y, -log_power)
    >>> power = Power()
    >>> y, log_slope = power.forward(ops.full((1, 3), 4.0), *power.prepare(ops.zeros((1, 1, 3))))
    >>> y.shape == log_slope.shape == (1, 3)
    True
    """

    parameters: int
    domain: Domain = Domain.REAL
    codomain: Domain = Domain.REAL
    log_det: ClassVar[str] = "varying"
    inverse_kind: ClassVar[str] = "analytic"
    bounded = False
    by_column: ClassVar[bool] = False  # True if it moves columns differently: it has `in_order`

    def prepare(self, h: Tensor) -> tuple[Tensor, ...]:
        """Return what both directions use of the raw numbers `h`, (batch, *places, parameters, channels)."""
        raise NotImplementedError(f"{type(self).__name__} has no prepare(self, h).")

    def forward(self, x: Tensor, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log dy/dx), for each entry."""
        return self._move(x, prepared, inverse=False)

    def inverse(self, y: Tensor, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, log dx/dy), for each entry."""
        return self._move(y, prepared, inverse=True)

    def _move(self, given, prepared, inverse):
        """Return what both return, for transforms whose directions are alike."""
        missing = "inverse(self, y" if inverse else "forward(self, x"
        raise NotImplementedError(f"{type(self).__name__} has no {missing}, *prepared).")

    def run(self, x: Tensor, prepared: tuple[Any, ...], inverse: bool) -> tuple[Tensor, Tensor]:
        """Return what `forward` returns, or `inverse`."""
        return (self.inverse if inverse else self.forward)(x, *prepared)

    def check_columns(self, owner: Any, columns: int, hint: str | None = None) -> None:
        """Raise ContractError of `owner`, the layer that is built, for a number of columns that it cannot move.

        What is the same for each entry moves any number; what differs by column has it. `hint` says what to do.
        """

    def fitted(self, x: Tensor) -> Tensor:
        """Raw numbers (parameters, channels) that make each channel of `x`, numpy rows, near to standard normal.

        A transform may have it, for layers that start from data.
        """
        raise NotImplementedError(f"{type(self).__name__} has no fitted(self, x).")

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash((type(self), repr(self)))


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
