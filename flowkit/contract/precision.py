"""The precision of flow maths."""

import warnings

import keras
from keras import ops, tree

_LOW = ("float16", "bfloat16")
_BITS = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}


def rounding_unit(dtype):
    """Return the distance from 1 to the next number of a floating-point type, by name."""
    return 2.0 ** -_BITS[dtype]


def full_precision(dtype=None):
    """Return the policy for flow maths: the given (or global) one, lifted to float32 if it computes in less.

    Under "mixed_bfloat16" scales, log-dets and inverses stay in float32; only conditioners compute low.
    """
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    if policy.compute_dtype in _LOW:
        full = policy.variable_dtype
        policy = keras.DTypePolicy("float32" if full in _LOW else full)
    return policy


def warn_of_other_precision(flow, bijector):
    """Warn if the dtype of a flow has more digits than that of its bijector, whose layers keep their own."""
    if rounding_unit(bijector.compute_dtype) > rounding_unit(flow.compute_dtype):
        warnings.warn(
            f"the flow is {flow.compute_dtype}, and its bijector was made in {bijector.compute_dtype}, in which it "
            f"computes: make it with dtype='{flow.compute_dtype}', or after "
            f"keras.config.set_dtype_policy('{flow.compute_dtype}')",
            stacklevel=3,
        )


def floats_as(given, dtype):
    """Return `given`, a tensor or a dict of them, with numbers that are no whole ones in the type `dtype`."""

    def cast(tensor):
        return ops.cast(tensor, dtype) if "float" in keras.backend.standardize_dtype(tensor.dtype) else tensor

    return tree.map_structure(cast, given)
