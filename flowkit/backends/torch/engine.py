"""What PyTorch is: its version, its devices, and functions that `keras.ops` has not."""

import torch

SUPPORTS_TRAINING = True


def version():
    """The engine's version."""
    return torch.__version__


def devices():
    """The devices that the engine sees, as text."""
    found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, f"cpu ({torch.get_num_threads()} threads)"]


def gpu_build():
    """What GPUs this build of the engine is for, as text; None for none, or if the engine itself tells of a lack."""
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    return f"ROCm {torch.version.hip}" if torch.version.hip else None


def no_grad():
    """A scope in which no gradient is recorded."""
    return torch.no_grad()  # puts the global mode back at its end


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return torch.lgamma(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    return torch.func.vmap(function)(x)
