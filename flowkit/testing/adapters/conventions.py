"""How each library calls its two directions, and where it says what they map between."""

from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from flowkit.backends import map_rows
from flowkit.contract import Domain


def _real(obj):
    return Domain.REAL


def _same(obj, dtype):
    return obj


@dataclass(frozen=True)
class Convention:
    """forward(obj, x) and inverse(obj, z) -> (output, log_det); cast(obj, dtype) -> obj; the domains of an object."""

    forward: Callable
    inverse: Callable
    cast: Callable = _same
    domain: Callable = _real
    codomain: Callable = _real
    precision: str = "float64"  # in which the tensors that an object holds were computed


def convention(obj):
    """The convention of the library that `obj` comes from; TypeError where it is none of those known."""
    names = [cls.__module__.split(".")[0] for cls in type(obj).__mro__]
    modules = [cls.__module__ for cls in type(obj).__mro__]
    for library, found in CONVENTIONS.items():
        if library in names or library in modules or any(m.startswith(library + ".") for m in modules):
            return found
    raise TypeError(
        f"adapt knows bijectors of {', '.join(CONVENTIONS)}; received {type(obj).__module__}.{type(obj).__qualname__}."
    )


# torch.distributions, and zuko's transforms, which derive from its Transform


def _transform(obj, x):
    y = obj(x)
    return y, obj.log_abs_det_jacobian(x, y)


def _transform_inverse(obj, z):
    x = obj.inv(z)
    return x, -obj.log_abs_det_jacobian(x, z)


def _tensor_cast(obj, dtype):
    """All floating-point tensors that the object holds, at any depth, in another precision: in place."""
    for name, value in vars(obj).items():
        if "float" in str(getattr(value, "dtype", "")) and hasattr(value, "requires_grad"):
            obj.__dict__[name] = ops.cast(value, dtype)
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if type(part).__module__.split(".")[0] in ("torch", "zuko") and hasattr(
                part, "log_abs_det_jacobian"
            ):
                _tensor_cast(part, dtype)
    return obj


def _module_cast(obj, dtype):
    return getattr(obj, {"float64": "double"}.get(dtype, "float"), lambda: obj)()


def _constraint(constraint):
    while type(constraint).__name__ in ("_IndependentConstraint", "IndependentConstraint"):
        constraint = constraint.base_constraint
    name = type(constraint).__name__.removeprefix("_")
    if name in ("GreaterThan", "GreaterThanEq"):
        return Domain(low=float(constraint.lower_bound))
    if name in ("Interval", "HalfOpenInterval"):
        return Domain.interval(float(constraint.lower_bound), float(constraint.upper_bound))
    return Domain.SIMPLEX if name == "Simplex" else Domain.REAL


# distrax: log-dets by name; TFP: of a declared event rank


def _tfp(obj, x):
    ndims = int(obj.forward_min_event_ndims)
    return obj.forward(x), obj.forward_log_det_jacobian(x, event_ndims=ndims)


def _tfp_inverse(obj, z):
    ndims = int(obj.inverse_min_event_ndims)
    return obj.inverse(z), obj.inverse_log_det_jacobian(z, event_ndims=ndims)


# FlowJAX: one event at a time


def _flowjax(method):
    def run(obj, x):
        return map_rows(getattr(obj, method), x)

    return run


CONVENTIONS = {
    "zuko": Convention(
        lambda obj, x: obj.call_and_ladj(x),
        _transform_inverse,
        _tensor_cast,
        precision="float32",
        domain=lambda obj: _constraint(obj.domain),
        codomain=lambda obj: _constraint(obj.codomain),
    ),
    "torch.distributions": Convention(
        _transform,
        _transform_inverse,
        _tensor_cast,
        precision="float32",
        domain=lambda obj: _constraint(obj.domain),
        codomain=lambda obj: _constraint(obj.codomain),
    ),
    "nflows": Convention(lambda obj, x: obj(x), lambda obj, z: obj.inverse(z), _module_cast),
    # A flow of normflows maps latent to data; read in the direction it is called in.
    "normflows": Convention(lambda obj, x: obj(x), lambda obj, z: obj.inverse(z), _module_cast),
    "flowjax": Convention(_flowjax("transform_and_log_det"), _flowjax("inverse_and_log_det")),
    "distrax": Convention(
        lambda obj, x: obj.forward_and_log_det(x), lambda obj, z: obj.inverse_and_log_det(z)
    ),
    "tensorflow_probability": Convention(_tfp, _tfp_inverse),
}
