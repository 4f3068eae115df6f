"""All weights of an optimizer in one call, on PyTorch."""

import math
import types

import torch


def all_finite(tensors):
    """Whether no entry of any of the `tensors` is NaN or infinite: a tensor of one bool."""
    largest = torch._foreach_norm([tensor.detach() for tensor in tensors], ord=float("inf"))
    return torch.stack(largest).isfinite().all()


def use_multi_tensor(optimizer):
    """Let a Keras optimizer clip and average all weights together, where Keras would do so one by one.

    Adam's steps as well, on CPU, where Keras's go through all weights nine times: a tenth of a training step of Glow.
    The values are Keras's up to rounding.
    """
    optimizer._clip_gradients = types.MethodType(_clip, optimizer)
    optimizer._update_model_variables_moving_average = types.MethodType(_average, optimizer)
    # Subclasses may compute something else.
    if type(optimizer).__module__.startswith("keras.") and type(optimizer).__name__ in ("Adam", "AdamW"):
        optimizer._parallel_update_step = types.MethodType(_adam, optimizer)


def _clip(optimizer, grads):
    most = optimizer.global_clipnorm
    if not most or optimizer.clipnorm or any(g is None for g in grads):
        return type(optimizer)._clip_gradients(optimizer, grads)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    return list(torch._foreach_mul(grads, most / torch.clamp(norm, min=most)))


@torch.no_grad()
def _average(optimizer, weights):
    kept = optimizer._model_variables_moving_average if optimizer.use_ema else []
    pairs = [(a.value, w.value) for a, w in zip(kept, weights, strict=False) if a is not None]
    if not pairs:
        return
    averages, values = map(list, zip(*pairs, strict=True))
    momentum = (optimizer.iterations.value != 0) * optimizer.ema_momentum
    if averages[0].is_cpu:
        torch._foreach_lerp_(averages, values, 1 - float(momentum))
    else:  # nobody waits for the device to tell a number
        torch._foreach_mul_(averages, momentum)
        torch._foreach_add_(averages, torch._foreach_mul(values, 1 - momentum))


def _adam(optimizer, grads, variables, learning_rate):
    weights = [variable.value.detach() for variable in variables]
    slots = [optimizer._get_variable_index(variable) for variable in variables]
    if not _fusable(optimizer, weights):
        return type(optimizer)._parallel_update_step(optimizer, grads, variables, learning_rate)
    step = int(optimizer.iterations) + 1
    torch._fused_adam_(
        weights,
        [grad.contiguous() for grad in grads],
        [optimizer._momentums[slot].value.detach() for slot in slots],
        [optimizer._velocities[slot].value.detach() for slot in slots],
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


def _fusable(optimizer, weights):
    """Whether one call can do it, without waiting for a device to tell what step this is."""
    return (
        not optimizer.amsgrad
        and not torch.compiler.is_compiling()
        and len({weight.dtype for weight in weights}) == 1
        and all(weight.is_cpu and weight.is_contiguous() for weight in weights)
    )
