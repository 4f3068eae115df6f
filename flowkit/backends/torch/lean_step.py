"""The training step on PyTorch, which runs eagerly: what Keras is asked twice takes its time twice."""

import keras
import torch
from keras import tree

from flowkit.backends.any.lean_step import around_steps, several_steps
from flowkit.backends.torch.group import processes, summed
from flowkit.backends.torch.values import values

__all__ = ["add_to_means", "around_steps", "lean_train_step", "several_steps"]


def lean_train_step(model, own, *given):
    """`own(*given)`, the training step that Keras has for `model`, or the same with less around it.

    The same calls in the same order, but weights and metrics are not looked up, in all layers, in each step. In a
    group of processes the optimizer is given the mean of their gradients, unless Keras takes that mean itself.
    """
    averages = getattr(model, "ddp_model", None) is not None  # from Keras 3.16 on
    if torch.compiler.is_compiling() or averages or not model._call_has_training_arg:
        return own(*given)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(*given)
    weights = model.looked_up.of(model)
    tensors = values(weights)
    y_pred = model(x, training=True)
    for tensor in tensors:
        tensor.grad = None
    with model.looked_up.standing():
        loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
    first = next(part for part in tree.flatten(x) if part is not None)
    add_to_means([model._loss_tracker], [loss.detach() * first.shape[0]], first.shape[0])
    if weights:
        model.optimizer.scale_loss(loss).backward()
        with torch.no_grad():
            model.optimizer.apply(_mean_gradients([tensor.grad for tensor in tensors]), weights)
    with model.looked_up.standing():
        return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


@torch.no_grad()
def add_to_means(means, totals, count):
    """Add `totals`, each a sum over `count` values, to `keras.metrics.Mean`s, as `update_state` does one by one."""
    torch._foreach_add_(values([mean.total for mean in means]), totals)
    # A tensor once for each mean: as one for all it would be read, and the host would wait.
    counts = [count] * len(means) if isinstance(count, torch.Tensor) else count
    torch._foreach_add_(values([mean.count for mean in means]), counts)


def _mean_gradients(gradients):
    """Their mean over the processes; None where there is none, which must be so in all of them."""
    count = processes()
    if count > 1:
        # Before anything looks at them: if one process has a NaN, all have, and all leave out the step.
        gradients = summed(gradients)
        torch._foreach_div_([gradient for gradient in gradients if gradient is not None], count)
    return gradients
