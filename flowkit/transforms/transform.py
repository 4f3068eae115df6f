"""The base class of every transform."""

from typing import Any, ClassVar

from flowkit.contract import Domain, Tensor
from flowkit.contract.configured import Configured


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
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, x, *prepared).")

    def inverse(self, y: Tensor, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, log dx/dy), for each entry."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse(self, y, *prepared).")

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
