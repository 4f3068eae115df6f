"""All weights of an optimizer in one call, on PyTorch."""

import math
import types

import keras
import torch
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

from flowkit.backends.any.optimizer import update_alike  # noqa: F401  (Keras's own goes through all in a few calls)
from flowkit.backends.torch.values import values


def norm_is_finite(tensors):
    """Whether the Euclidean norm of all `tensors` together is finite, and its square: a tensor of one bool."""
    tensors = [tensor.detach() for tensor in tensors]
    # A norm has the type of its tensor, and above 256 its square overflows in float16.
    wide = [tensor.float() if tensor.dtype == torch.float16 else tensor for tensor in tensors]
    norms = torch._foreach_norm(wide)
    return torch.stack(norms).square().sum().isfinite()


def use_multi_tensor(optimizer):
    """Let a Keras optimizer clip and average all weights together; Keras would do so one by one.

    Adam's and AdamW's steps as well, where Keras's go through all weights nine times: on CPU a tenth of a training step
    of Glow. What a subclass has written itself stays. The values are Keras's up to rounding, of which there is
    less: in float32 Keras's 1 - beta_2^t has four digits fewer for beta_2 = 0.999.
    """
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    for replacement, module in _REPLACES.items():
        own = getattr(type(optimizer), replacement.__name__, None)
        if getattr(own, "__module__", None) == module:
            setattr(optimizer, replacement.__name__, types.MethodType(replacement, optimizer))
    if type(optimizer).__module__ in ADAMS:
        optimizer.apply = types.MethodType(_apply, optimizer)


def _clip_gradients(optimizer, grads):
    most = optimizer.global_clipnorm
    if not grads or any(g is None for g in grads):
        return type(optimizer)._clip_gradients(optimizer, grads)
    if optimizer.clipnorm or not most or most < 0:
        own = grads[0].is_cpu or torch.compiler.is_compiling()
        return type(optimizer)._clip_gradients(optimizer, grads) if own else _clip_on_device(optimizer, grads)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    scale = most / torch.clamp(norm, min=most) + (norm - norm)  # NaN if the norm is not finite, as in Keras
    return list(torch._foreach_mul(grads, scale))


def _clip_on_device(optimizer, grads):
    """Each gradient's norm, or each entry, clipped as Keras does, which uploads numbers for it."""
    most, edge = optimizer.clipnorm, optimizer.clipvalue
    if most and most > 0:
        scales = most / torch.stack(torch._foreach_norm(grads)).clamp(min=most)
        return list(torch._foreach_mul(grads, list(scales.unbind())))
    if edge and edge > 0:
        return list(torch._foreach_clamp_min(torch._foreach_clamp_max(grads, edge), -edge))
    return grads


@torch.no_grad()
def _update_model_variables_moving_average(optimizer, weights):
    kept = optimizer._model_variables_moving_average if optimizer.use_ema else []
    pairs = [(a.value, w.value) for a, w in zip(kept, weights, strict=False) if a is not None]
    if not pairs:
        return
    averages, values = map(list, zip(*pairs, strict=True))
    momentum = _momentum(optimizer)
    if averages[0].is_cpu and not torch.compiler.is_compiling():
        torch._foreach_lerp_(averages, values, 1 - float(momentum))
    else:  # nobody waits for the device to tell a number
        _average(averages, values, momentum)


def _momentum(optimizer):
    return (keras.ops.convert_to_tensor(optimizer.iterations) != 0) * optimizer.ema_momentum


def _average(averages, values, momentum):
    torch._foreach_mul_(averages, momentum)
    torch._foreach_add_(averages, torch._foreach_mul(values, 1 - momentum))


def _parallel_update_step(optimizer, grads, variables, learning_rate):
    """Adam's step; called without gradients being recorded."""
    weights = values(variables)
    if not _fusable(optimizer, weights, grads):
        return type(optimizer)._parallel_update_step(optimizer, grads, variables, learning_rate)
    if not weights[0].is_cpu:
        _adam_on_device(optimizer, weights, grads, variables, learning_rate)
        return
    step = int(optimizer.iterations) + 1
    _adam(
        optimizer,
        weights,
        grads,
        variables,
        step=torch.tensor(float(step)),
        lr=float(learning_rate),
        # Keras adds its epsilon to what torch divides by this root first.
        eps=optimizer.epsilon / math.sqrt(1 - optimizer.beta_2**step),
    )


def _adam_on_device(optimizer, weights, grads, variables, learning_rate, missed=None):
    """Adam's step, of which the host knows neither the number nor whether it is `missed`, 1. or 0."""
    t = keras.ops.convert_to_tensor(optimizer.iterations).to(torch.float32) + 1
    first, second = (-torch.expm1(t * math.log(beta)) for beta in (optimizer.beta_1, optimizer.beta_2))
    # The rate corrects for the start, as in Keras; to torch it is a step so late that there is nothing to correct.
    rate = keras.ops.convert_to_tensor(learning_rate, "float32") * torch.sqrt(second) / first
    _adam(
        optimizer,
        weights,
        grads,
        variables,
        step=torch.full_like(rate, math.inf),
        lr=rate,
        eps=optimizer.epsilon,
        found_inf=missed,
    )


def _adam(optimizer, weights, grads, variables, step, **given):
    slots = [optimizer._get_variable_index(variable) for variable in variables]
    torch._fused_adam_(
        weights,
        [grad.contiguous() for grad in grads],
        values([optimizer._momentums[slot] for slot in slots]),
        values([optimizer._velocities[slot] for slot in slots]),
        [],
        [step] * len(slots),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,  # Keras has applied it
        amsgrad=False,
        maximize=False,
        **given,
    )


def _fusable(optimizer, weights, grads):
    """Whether one call can do it, without waiting for a device to tell what step this is."""
    if optimizer.amsgrad or torch.compiler.is_compiling():
        return False
    if len({tensor.dtype for tensor in (*weights, *grads)} | {grad.is_cpu for grad in grads}) != 2:
        return False
    if not all(weight.is_cpu == weights[0].is_cpu and weight.is_contiguous() for weight in weights):
        return False
    return weights[0].is_cpu or (
        weights[0].dtype == torch.float32
        and min(optimizer.beta_1, optimizer.beta_2) > 0
        and weights[0].device.type in _get_fused_kernels_supported_devices()
    )


@torch.no_grad()
def step_if(taken, optimizer, grads, variables):
    """Let `optimizer` step if `taken`, a tensor of one bool, and answer True; or leave it to who can wait for it.

    On a device, Adam and AdamW can: what is missed multiplies by 1 and adds 0, so that not a bit changes.
    """
    if taken.is_cpu or not _applies_plainly(optimizer, grads, variables):
        return False
    if not _fusable(optimizer, values(variables), grads):
        return False
    _step_on_device(optimizer, grads, variables, taken)
    return True


@torch.no_grad()
def _apply(optimizer, grads, trainable_variables=None):
    """Adam's whole step: on a device without the numbers that Keras uploads for it."""
    grads = list(grads)
    plain = _applies_plainly(optimizer, grads, trainable_variables)
    if not plain or grads[0].is_cpu or not _fusable(optimizer, values(trainable_variables), grads):
        type(optimizer).apply(optimizer, grads, trainable_variables)
        return
    optimizer._check_variables_are_known(trainable_variables)
    _step_on_device(optimizer, grads, trainable_variables)


def _step_on_device(optimizer, grads, variables, taken=None):
    """Clip, decay, step, average, count; nothing of it if `taken`, a tensor of one bool, says so."""
    step = None if taken is None else taken.to(torch.float32)
    rate = keras.ops.convert_to_tensor(optimizer.learning_rate, "float32")
    if optimizer.weight_decay is not None:
        decayed = values([v for v in variables if optimizer._use_weight_decay(v)])
        decay = optimizer.weight_decay * rate
        torch._foreach_mul_(decayed, 1 - (decay if step is None else decay * step))
    grads = optimizer._clip_gradients(list(grads))
    missed = None if step is None else 1 - step
    _adam_on_device(optimizer, values(variables), grads, variables, rate, missed)
    if optimizer.use_ema:
        kept = zip(optimizer._model_variables_moving_average, optimizer._trainable_variables, strict=True)
        averages, averaged = zip(*((a, w) for a, w in kept if a is not None), strict=True)
        momentum = _momentum(optimizer)
        _average(values(averages), values(averaged), momentum if step is None else 1 - (1 - momentum) * step)
    values([optimizer.iterations])[0].add_(1 if taken is None else taken)


def _applies_plainly(optimizer, grads, variables):
    """Whether what `apply` does of Keras's Adam is to clip, decay, step, and average."""
    return (
        type(optimizer).__module__ in ADAMS
        and optimizer.built
        and variables is not None
        and len(grads) > 0
        and not any(grad is None for grad in grads)
        and not any(v.constraint is not None or v.overwrite_with_gradient for v in variables)
        and not (optimizer.gradient_accumulation_steps or optimizer.ema_overwrite_frequency)
        and optimizer.loss_scale_factor is None
    )


ADAMS = ("keras.src.backend.torch.optimizers.torch_adam", "keras.src.backend.torch.optimizers.torch_adamw")

# What takes the place of methods of the same name, if they are those of that module.
_REPLACES = {
    _clip_gradients: "keras.src.optimizers.base_optimizer",
    _update_model_variables_moving_average: "keras.src.optimizers.base_optimizer",
    _parallel_update_step: "keras.src.backend.torch.optimizers.torch_adam",
}
