"""A copy of another library's object with all numbers that it holds in another precision."""

import copy
import functools
import inspect
import types

import numpy as np

_WHOLE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, bytes, int, float)


def copied(obj, dtype):
    """A deep copy of `obj` whose floating-point tensors, at any depth, are of `dtype`.

    `copy.deepcopy` is told beforehand what becomes of each tensor. (By itself it refuses those that are
    results of torch operations, such as a transform holds that a network has just made.) What a function
    closes over stays as it is.
    """
    items = held(obj)
    memo = {id(item): _cast(item, dtype) for item in items if _is_array(item)}
    for item in reversed(items):  # inner ones first
        if type(item).__qualname__ == "_InverseTransform":  # torch's, which forgets in a copy what it inverts
            memo[id(item)] = copy.deepcopy(item.inv, memo).inv
    return copy.deepcopy(obj, memo)


def held(obj):
    """All that `obj` holds at any depth, itself first."""
    seen, found, waiting = set(), [], [obj]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, _WHOLE):
            continue
        seen.add(id(item))
        found.append(item)
        if hasattr(item, "dtype") and hasattr(item, "shape"):
            continue
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, (list, tuple, set)):
            waiting += item
        elif isinstance(item, functools.partial):
            waiting += [item.func, item.args, item.keywords]
        elif isinstance(item, types.MethodType):
            waiting.append(item.__self__)
        else:
            waiting += getattr(item, "__dict__", {}).values()
    return found


def arrays(obj):
    """All floating-point tensors that `obj` holds at any depth."""
    return [item for item in held(obj) if _is_array(item)]


def _is_array(item):
    return hasattr(item, "shape") and "float" in str(getattr(item, "dtype", ""))


def _cast(array, dtype):
    if hasattr(array, "detach"):
        new = getattr(array.detach().clone(), {"float64": "double"}.get(dtype, "float"))()
        return new.requires_grad_(array.requires_grad and array.is_leaf)  # some libraries remember which do
    return array.astype(dtype)


def rebuilt(bijector, dtype):
    """A TFP bijector made again from its parameters. It holds caches that refer to itself, so it cannot be copied."""

    def again(value):
        if hasattr(value, "parameters") and hasattr(value, "dtype"):  # a bijector or a linear operator
            return rebuilt(value, dtype)
        if type(value) in (list, tuple):
            return type(value)(again(v) for v in value)
        if isinstance(value, dict):
            return {key: again(v) for key, v in value.items()}
        if isinstance(value, float):
            return np.asarray(value, dtype)[()]  # a plain float would become float32
        if "float" in str(getattr(value, "dtype", "")) and hasattr(value, "astype"):
            return _cast(value, dtype)
        return value

    parameters = {name: again(value) for name, value in bijector.parameters.items()}
    if parameters.get("dtype") is not None:
        parameters["dtype"] = np.dtype(dtype)
    return _taker(type(bijector), parameters)(**parameters)


def _taker(cls, parameters):
    """The class itself, or the one above it to which its constructor handed these parameters, as to Chain."""
    for above in cls.__mro__:
        if parameters.keys() <= inspect.signature(above.__init__).parameters.keys():
            return above
    raise TypeError(f"{cls.__module__}.{cls.__qualname__} cannot be made again from its .parameters.")
