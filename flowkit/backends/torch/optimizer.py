"""All weights of an optimizer in one call, on PyTorch."""

import math
import types

import keras
import torch

from flowkit.backends.any.optimizer import update_alike  # noqa: F401  (Keras's own goes through all in a few calls)
from flowkit.backends.torch.values import values


def all_finite(tensors):
    """Whether no entry of any of the `tensors` is NaN or infinite: a tensor of one bool."""
    largest = torch._foreach_norm([tensor.detach() for tensor in tensors], ord=float("inf"))
    return torch.stack(largest).isfinite().all()


def use_multi_tensor(optimizer):
    """Let a Keras optimizer clip and average all weights together; Keras would do so one by one.

    Adam's and AdamW's steps as well, on CPU, where Keras's go through all weights nine times: a tenth of a training
    step of Glow. What a subclass has written itself stays. The values are Keras's up to rounding, of which there is
    less: in float32 Keras's 1 - beta_2^t has four digits fewer for beta_2 = 0.999.
    """
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    for replacement, module in _REPLACES.items():
        own = getattr(type(optimizer), replacement.__name__, None)
        if getattr(own, "__module__", None) == module:
            setattr(optimizer, replacement.__name__, types.MethodType(replacement, optimizer))


def _clip_gradients(optimizer, grads):
    most = optimizer.global_clipnorm
    if optimizer.clipnorm or not most or most < 0 or any(g is None for g in grads):
        return type(optimizer)._clip_gradients(optimizer, grads)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    scale = most / torch.clamp(norm, min=most) + (norm - norm)  # NaN if the norm is not finite, as in Keras
    return list(torch._foreach_mul(grads, scale))


@torch.no_grad()
def _update_model_variables_moving_average(optimizer, weights):
    kept = optimizer._model_variables_moving_average if optimizer.use_ema else []
    pairs = [(a.value, w.value) for a, w in zip(kept, weights, strict=False) if a is not None]
    if not pairs:
        return
    averages, values = map(list, zip(*pairs, strict=True))
    momentum = (keras.ops.convert_to_tensor(optimizer.iterations) != 0) * optimizer.ema_momentum
    if averages[0].is_cpu and not torch.compiler.is_compiling():
        torch._foreach_lerp_(averages, values, 1 - float(momentum))
    else:  # nobody waits for the device to tell a number
        torch._foreach_mul_(averages, momentum)
        torch._foreach_add_(averages, torch._foreach_mul(values, 1 - momentum))


def _parallel_update_step(optimizer, grads, variables, learning_rate):
    """Adam's step; called without gradients being recorded."""
    weights = values(variables)
    if not _fusable(optimizer, weights, grads):
        return type(optimizer)._parallel_update_step(optimizer, grads, variables, learning_rate)
    slots = [optimizer._get_variable_index(variable) for variable in variables]
    step = int(optimizer.iterations) + 1
    torch._fused_adam_(
        weights,
        [grad.contiguous() for grad in grads],
        values([optimizer._momentums[slot] for slot in slots]),
        values([optimizer._velocities[slot] for slot in slots]),
        [],
        [torch.tensor(float(step))] * len(weights),
        lr=float(learning_rate),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,  # Keras has applied it
        # Keras adds its epsilon to what torch divides by this root first.
        eps=optimizer.epsilon / math.sqrt(1 - optimizer.beta_2**step),
        amsgrad=False,
        maximize=False,
    )


def _fusable(optimizer, weights, grads):
    """Whether one call can do it, without waiting for a device to tell what step this is."""
    return (
        not optimizer.amsgrad
        and not torch.compiler.is_compiling()
        and len({tensor.dtype for tensor in (*weights, *grads)}) == 1
        and all(weight.is_cpu and weight.is_contiguous() for weight in weights)
    )


# What takes the place of methods of the same name, if they are those of that module.
_REPLACES = {
    _clip_gradients: "keras.src.optimizers.base_optimizer",
    _update_model_variables_moving_average: "keras.src.optimizers.base_optimizer",
    _parallel_update_step: "keras.src.backend.torch.optimizers.torch_adam",
}
