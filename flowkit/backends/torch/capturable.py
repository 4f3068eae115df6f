"""Which flows can be trained in recorded steps."""

from flowkit.backends.torch.graphs import device, graph_class
from flowkit.backends.torch.group import processes
from flowkit.backends.torch.optimizer import ADAMS


def check_capture(model):
    """Raise unless a training step of `model`, compiled as it is, can be recorded as a CUDA graph.

    NotImplementedError for another device, and in a group of processes; ValueError for what does not go with it.
    """
    if graph_class() is None:
        raise NotImplementedError(
            f"cuda_graph=True records training steps on CUDA devices, received a flow on {device()}. Leave it out."
        )
    if processes() > 1:
        raise NotImplementedError(
            f"cuda_graph=True expects one process, received a group of {processes()}, which talk in the middle of a "
            "step. Leave cuda_graph out."
        )
    if model.jit_compile:
        raise ValueError(
            "cuda_graph=True expects steps that run eagerly, received jit_compile=True. Leave one out."
        )
    optimizer = model.optimizer
    if getattr(optimizer, "skips_what_is_not_finite", False):
        optimizer = optimizer.inner_optimizer
    if why := _what_waits(optimizer):
        raise ValueError(
            f"cuda_graph=True expects Adam or AdamW, or one of them in a GuardedOptimizer, received {why}, for which "
            "the host waits in each step. Leave cuda_graph out, or take another optimizer."
        )


def _what_waits(optimizer):
    """Why the host would wait for the device in each step of `optimizer`, in words; None if it need not."""
    name = type(optimizer).__name__
    if type(optimizer).__module__ not in ADAMS:
        return name
    for option in ("amsgrad", "gradient_accumulation_steps", "ema_overwrite_frequency", "loss_scale_factor"):
        if getattr(optimizer, option, None):
            return f"{name}({option}={getattr(optimizer, option)!r})"
    if not min(optimizer.beta_1, optimizer.beta_2) > 0:
        return f"{name}(beta_1={optimizer.beta_1!r}, beta_2={optimizer.beta_2!r})"
    return None
