"""What JAX is: its version, its devices, and functions that `keras.ops` has not."""

import contextlib

import jax

SUPPORTS_TRAINING = True


def version():
    """The engine's version."""
    return jax.__version__


def devices():
    """The devices that the engine sees, as text."""
    return [f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices()]


def gpu_build():
    """What GPUs this build of the engine is for, as text; None for none, or if the engine itself tells of a lack."""
    return None


def no_grad():
    """A scope in which no gradient is recorded."""
    return contextlib.nullcontext()  # JAX records nothing unless asked


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return jax.lax.lgamma(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    return jax.vmap(function)(x)
