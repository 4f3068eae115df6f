"""Training steps on PyTorch, in a group of processes as well."""

import keras
import torch
from keras import tree

from flowkit.backends.any.steps import after_fit, current, holds_weights, settle
from flowkit.backends.torch.group import processes, summed

__all__ = ["after_fit", "current", "holds_weights", "settle", "train_step"]


def train_step(model, own, *data):
    """Take `own(*data)`, Keras's training step of `model`, and average gradients over processes if Keras does not."""
    count = processes()
    if count == 1 or getattr(model, "ddp_model", None) is not None:  # from Keras 3.16 on
        return own(*data)
    # Keras's guide to training steps of one's own on PyTorch.
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(*data)
    y_pred = model(x, training=True)
    model.zero_grad()
    loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
    rows = next(part for part in tree.flatten(x) if part is not None).shape[0]
    next(metric for metric in model.metrics if metric.name == "loss").update_state(loss, sample_weight=rows)
    weights = model.trainable_weights
    if weights:
        model.optimizer.scale_loss(loss).backward()
        # Before anything reads them: a NaN in one process is a NaN in all, and all skip the step.
        grads = summed([weight.value.grad for weight in weights])
        with torch.no_grad():
            model.optimizer.apply([None if grad is None else grad / count for grad in grads], weights)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
