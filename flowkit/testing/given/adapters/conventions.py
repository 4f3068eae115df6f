"""How each library calls its two directions, and where it says what they map between."""

from collections.abc import Callable
from dataclasses import dataclass

from flowkit.backends import map_rows
from flowkit.contract import Domain
from flowkit.testing.given.adapters.copies import arrays, copied, rebuilt


def _real(obj):
    return Domain.REAL


@dataclass(frozen=True)
class Convention:
    """forward(obj, x) and inverse(obj, z) -> (output, log_det); copied(obj, dtype) -> obj; the domains of an object.

    `derives`: the tensors that an object holds may have been computed when it was made, as a spline's knots are.
    """

    forward: Callable
    inverse: Callable
    copied: Callable = copied
    domain: Callable = _real
    codomain: Callable = _real
    derives: bool = False

    def precision(self, obj):
        """The precision in which the object's own numbers were computed."""
        narrow = self.derives and any("float32" in str(array.dtype) for array in arrays(obj))
        return "float32" if narrow else "float64"


def convention(obj):
    """The convention of the library that `obj` comes from; TypeError if it is none of those known."""
    modules = [cls.__module__ + "." for cls in type(obj).__mro__]
    for library, found in CONVENTIONS.items():
        if any(module.startswith(library + ".") for module in modules):
            return found
    raise TypeError(
        f"adapt expects a bijector of {', '.join(CONVENTIONS)}; received "
        f"{type(obj).__module__}.{type(obj).__qualname__}. Write its two directions as a flowkit.Bijector."
    )


# torch.distributions, and zuko's transforms, which derive from its Transform


def _transform(obj, x):
    y = obj(x)
    return y, obj.log_abs_det_jacobian(x, y)


def _transform_inverse(obj, z):
    x = obj.inv(z)
    return x, -obj.log_abs_det_jacobian(x, z)


def _ladj(obj, x):
    return obj.call_and_ladj(x)


def _ladj_inverse(obj, z):
    return obj.inv.call_and_ladj(z)


def _constraint(constraint):
    """The domain that a torch.distributions constraint names."""
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    name = type(constraint).__name__.removeprefix("_")
    if name in ("GreaterThan", "GreaterThanEq"):
        return Domain(low=float(constraint.lower_bound))
    if name == "LessThan":
        return Domain(high=float(constraint.upper_bound))
    if name in ("Interval", "HalfOpenInterval"):
        return Domain.interval(float(constraint.lower_bound), float(constraint.upper_bound))
    return Domain.SIMPLEX if name == "Simplex" else Domain.REAL


def _domain(obj):
    return _constraint(obj.domain)


def _codomain(obj):
    return _constraint(obj.codomain)


# nflows and normflows: modules that return pairs. A flow of normflows maps latent to data, and is read as it is called.


def _call(obj, x):
    return obj(x)


def _inverse(obj, z):
    return obj.inverse(z)


# FlowJAX: one event at a time


def _rows(method):
    return lambda obj, x: map_rows(getattr(obj, method), x)


# distrax: pairs by name; TFP: log-dets of a given event rank, which it sums over


def _distrax(obj, x):
    return obj.forward_and_log_det(x)


def _distrax_inverse(obj, z):
    return obj.inverse_and_log_det(z)


def _tfp(obj, x):
    return obj.forward(x), obj.forward_log_det_jacobian(x, event_ndims=x.ndim - 1)


def _tfp_inverse(obj, z):
    return obj.inverse(z), obj.inverse_log_det_jacobian(z, event_ndims=z.ndim - 1)


CONVENTIONS = {
    "zuko": Convention(_ladj, _ladj_inverse, domain=_domain, codomain=_codomain, derives=True),
    "torch.distributions": Convention(
        _transform, _transform_inverse, domain=_domain, codomain=_codomain, derives=True
    ),
    "nflows": Convention(_call, _inverse),
    "normflows": Convention(_call, _inverse),
    "flowjax": Convention(_rows("transform_and_log_det"), _rows("inverse_and_log_det")),
    "distrax": Convention(_distrax, _distrax_inverse, derives=True),
    "tensorflow_probability": Convention(_tfp, _tfp_inverse, rebuilt),
}
