"""What a measurement has to ask of JAX's device."""

import jax


def wait(answer=None):
    """Return when the device has done `answer`; without one, all that it was given."""
    jax.block_until_ready(jax.live_arrays() if answer is None else answer)


def peak():
    """The most bytes that arrays have taken on a GPU; None if JAX does not count."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def computes_on():
    """The name of the GPU, after a computation on it. Raises if there is none."""
    device = jax.devices("gpu")[0]
    x = jax.numpy.ones((64, 64), device=device)
    if float((x @ x)[0, 0]) != 64:
        raise RuntimeError("a product of matrices is wrong")
    return device.device_kind


def set_precision(name):
    """ "default" leaves JAX as it comes; "bfloat16" is left to each contender."""
    if name in ("float32", "tf32"):
        jax.config.update(
            "jax_default_matmul_precision", {"float32": "highest", "tf32": "tensorfloat32"}[name]
        )


def facts():
    return {"engine_version": jax.__version__, "device": jax.devices()[0].device_kind, "threads": None}
