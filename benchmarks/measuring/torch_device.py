"""What a measurement has to ask of torch's device."""

import torch


def wait(answer=None):
    """Return when the device has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak():
    """The most bytes that tensors have taken on a GPU; None without one."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def computes_on():
    """The name of the GPU, after a computation on it. Raises if there is none."""
    x = torch.ones(64, 64, device="cuda")
    if float((x @ x)[0, 0]) != 64:
        raise RuntimeError("a product of matrices is wrong")
    return torch.cuda.get_device_name()


def set_precision(name):
    """ "default" leaves torch as it comes; "bfloat16" is left to each contender."""
    if name in ("float32", "tf32"):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"


def facts():
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"engine_version": torch.__version__, "device": device, "threads": torch.get_num_threads()}
