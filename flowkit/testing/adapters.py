"""Other libraries' bijectors, in flowkit's contract: torch ones on the torch engine, JAX ones on the JAX engine.

No library is imported: the module of an object's class names it.
"""

import copy
import functools
import gc
import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops, tree

from flowkit.contract import Bijector, BijectorSpec, Domain
from flowkit.contract.errors import shape_error
from flowkit.testing.clauses import clauses_of, engines, refusals, weights

NOT_APPLICABLE = {"shape inference", "log-det kind", "empty batch", "context", "noise"}
NOT_APPLICABLE |= clauses_of(weights, engines, refusals).keys()
"""Clauses about Keras, or about promises that other libraries do not make."""


def adapt(
    obj: Any,
    *,
    event_shape: Sequence[int] = (3,),
    domain: Domain | None = None,
    codomain: Domain | None = None,
    inverse: str = "analytic",
    solver_gradients: bool = True,
) -> Any:
    """Return `obj`, of torch.distributions, zuko, nflows, normflows, FlowJAX, distrax or TFP on JAX, as a `Bijector`.

    `event_shape` is that of one input, without the batch. A map that treats each number by itself is summed
    over the event. `domain` and `codomain` say what it maps from and onto, if the object does not say so
    itself (torch.distributions and zuko do) and it is not all real numbers. `inverse="iterative"`: its
    inverse is found by search, and `solver_gradients=False` that no gradients pass through that. It is checked with the
    weights that it has.
    Clauses about Keras's saving, shapes and policies are reported as "not asked: not applicable".
    Raises TypeError for an object of another library.
    """
    found = convention(obj)
    spec = BijectorSpec(
        event_rank=len(event_shape),
        event_multiple=tuple(event_shape),
        domain=domain or _constraint(getattr(obj, "domain", None)),
        codomain=codomain or _constraint(getattr(obj, "codomain", None)),
        inverse=inverse,
        solver_gradients=solver_gradients,
    )
    return Adapted(obj, found, spec)


class Adapted(Bijector):
    """`given` called as its library's `convention` says, in this layer's precision."""

    not_applicable = "not applicable: another library's bijector"
    not_asked = NOT_APPLICABLE

    def __init__(self, given, convention, spec, **kwargs):
        super().__init__(**kwargs)
        held = convention.copied(given, self.compute_dtype)
        self.__dict__.update(given=given, held=held, convention=convention)  # Keras tracks no part of them
        self.event, self.precision, self.spec = spec.event_multiple, convention.precision(given), spec

    def remade(self, dtype=None):
        """Return a copy of another precision: it has no config to be made from."""
        return Adapted(self.given, self.convention, self.spec, dtype=dtype or "float32")

    def build(self, x_shape):
        if tuple(x_shape[1:]) != self.event:
            expected = f"events of shape {self.event}, the event_shape of adapt"
            raise shape_error(self, expected, x_shape, "Pass adapt(..., event_shape=) for another.")

    def _forward(self, x):
        return self._per_event(*self.convention.forward(self.held, x))

    def _inverse(self, z):
        return self._per_event(*self.convention.inverse(self.held, z))

    def _per_event(self, value, log_det):
        """Return one log-det for each sample, whether the library gives it for each number, each event or once."""
        log_det = ops.convert_to_tensor(log_det)
        axes = tuple(range(1, len(log_det.shape)))
        return value, ops.sum(log_det, axis=axes) if axes else log_det

    def compute_output_shape(self, input_shape):
        return input_shape[0], *self._latent_event

    def compute_inverse_shape(self, latent_shape):
        return latent_shape[0], *self.event

    @functools.cached_property
    def _latent_event(self):
        """Return the shape of an output event, found by a call: the libraries differ in how they report it."""
        t = np.linspace(-0.5, 0.5, 2 * int(np.prod(self.event))).reshape(2, *self.event)
        x = self.spec.domain.from_real(ops.convert_to_tensor(t.astype(self.compute_dtype)))
        return tuple(self.convention.forward(self.held, x)[0].shape[1:])

    def __repr__(self):
        kind = type(self.given)
        return f"adapt({kind.__module__}.{kind.__qualname__}, event_shape={self.event})"


# A copy of another library's object with all numbers that it holds in another precision

_WHOLE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, bytes, int, float)


def copied(obj, dtype):
    """Return a deep copy of `obj` whose floating-point tensors, at any depth, are of `dtype`.

    `copy.deepcopy` receives beforehand what becomes of each tensor. (By itself it refuses those that are
    results of torch operations, such as a transform holds that a network has just made.) What a function
    closes over stays as it is.
    """
    items = _held(obj)
    memo = {id(item): _cast(item, dtype) for item in items if _is_array(item)}
    for item in reversed(items):  # inner ones first
        if type(item).__qualname__ == "_InverseTransform":  # torch's, which forgets in a copy what it inverts
            memo[id(item)] = copy.deepcopy(item.inv, memo).inv
    return copy.deepcopy(obj, memo)


def _held(obj):
    """Return all that `obj` holds at any depth, itself first."""
    seen, found, waiting = set(), [], [obj]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, _WHOLE):
            continue
        seen.add(id(item))
        found.append(item)
        if not (hasattr(item, "dtype") and hasattr(item, "shape")):
            waiting += gc.get_referents(item)
    return found


def arrays(obj):
    """Return all floating-point tensors that `obj` holds at any depth."""
    return [item for item in _held(obj) if _is_array(item)]


def _is_array(item):
    return hasattr(item, "shape") and "float" in str(getattr(item, "dtype", ""))


def _cast(array, dtype):
    if hasattr(array, "detach"):
        new = getattr(array.detach().clone(), {"float64": "double"}.get(dtype, "float"))()
        return new.requires_grad_(array.requires_grad and array.is_leaf)  # some libraries remember which do
    return array.astype(dtype)


def _rebuilt(bijector, dtype):
    """Return a TFP bijector made again from its parameters: its caches refer to itself, so it cannot be copied."""

    def again(value):
        if hasattr(value, "parameters") and hasattr(value, "dtype"):  # a bijector or a linear operator
            return _rebuilt(value, dtype)
        if isinstance(value, float):
            return np.asarray(value, dtype)[()]  # a plain float would become float32
        if "float" in str(getattr(value, "dtype", "")) and hasattr(value, "astype"):
            return _cast(value, dtype)
        return value

    parameters = tree.map_structure(again, dict(bijector.parameters))
    if parameters.get("dtype") is not None:
        parameters["dtype"] = np.dtype(dtype)
    # The class itself, or the base class whose constructor takes these parameters, such as Chain.
    for cls in type(bijector).__mro__:
        if parameters.keys() <= inspect.signature(cls.__init__).parameters.keys():
            return cls(**parameters)
    kind = type(bijector)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be made again from its .parameters.")


# How each library calls its two directions, and where it says what they map between


@dataclass(frozen=True)
class Convention:
    """forward(obj, x) and inverse(obj, z) -> (output, log_det); copied(obj, dtype) -> obj.

    `derives`: the tensors that an object holds may have been computed when it was made, as a spline's knots are.
    """

    forward: Callable
    inverse: Callable
    copied: Callable = copied
    derives: bool = False

    def precision(self, obj):
        """Return the precision in which the object's own numbers were computed."""
        narrow = self.derives and any("float32" in str(array.dtype) for array in arrays(obj))
        return "float32" if narrow else "float64"


def convention(obj):
    """Return the convention of the library that `obj` comes from; raise TypeError for other libraries."""
    modules = [cls.__module__ + "." for cls in type(obj).__mro__]
    for library, found in CONVENTIONS.items():
        if any(module.startswith(library + ".") for module in modules):
            return found
    raise TypeError(
        f"adapt: got {type(obj).__module__}.{type(obj).__qualname__}, expected a bijector of "
        f"{', '.join(CONVENTIONS)}. Write its two directions as a flowkit.Bijector."
    )


def _transform(obj, x):
    y = obj(x)
    return y, obj.log_abs_det_jacobian(x, y)


def _transform_inverse(obj, z):
    x = obj.inv(z)
    return x, -obj.log_abs_det_jacobian(x, z)


def _constraint(constraint):
    """Return the domain of a torch.distributions constraint, the real line for None: of other libraries."""
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    if type(constraint).__name__.endswith("Simplex"):
        return Domain.SIMPLEX
    low, high = getattr(constraint, "lower_bound", -np.inf), getattr(constraint, "upper_bound", np.inf)
    return Domain(low=float(low), high=float(high))


_module = Convention(lambda obj, x: obj(x), lambda obj, z: obj.inverse(z))  # it returns pairs

CONVENTIONS = {
    # zuko's transforms derive from torch.distributions' Transform.
    "zuko": Convention(
        lambda obj, x: obj.call_and_ladj(x), lambda obj, z: obj.inv.call_and_ladj(z), derives=True
    ),
    "torch.distributions": Convention(_transform, _transform_inverse, derives=True),
    "nflows": _module,
    "normflows": _module,  # its flows map latents to data, and are read as they are called
    "flowjax": Convention(  # one event at a time
        lambda obj, x: ops.vectorized_map(obj.transform_and_log_det, x),
        lambda obj, z: ops.vectorized_map(obj.inverse_and_log_det, z),
    ),
    "distrax": Convention(
        lambda obj, x: obj.forward_and_log_det(x), lambda obj, z: obj.inverse_and_log_det(z), derives=True
    ),
    # TFP's log-dets are of a given event rank, which it sums over.
    "tensorflow_probability": Convention(
        lambda obj, x: (obj.forward(x), obj.forward_log_det_jacobian(x, event_ndims=x.ndim - 1)),
        lambda obj, z: (obj.inverse(z), obj.inverse_log_det_jacobian(z, event_ndims=z.ndim - 1)),
        _rebuilt,
    ),
}
