"""What would go wrong in training, most of it without a word, is refused before it begins."""

import keras

from flowkit import engines
from flowkit.contract.inside import layers_inside
from flowkit.engines import engine
from flowkit.flow.in_a_group import check_processes
from flowkit.objectives import Objective

OF_TARGETS = ("loss", "loss_weights", "metrics", "weighted_metrics")


def refuse_other_losses(flow, given):
    """Raise ValueError for what Keras's `compile` takes for models whose loss compares predictions with targets."""
    for name in OF_TARGETS:
        if given.get(name) is None or (name == "loss" and isinstance(given[name], Objective)):
            continue
        if name == "loss":
            made = ": it is a class, to be called" if isinstance(given[name], type) else ""
            raise ValueError(
                f"{type(flow).__name__}.compile expects an objective as loss=, such as MaximumLikelihood() (the "
                f"default), ReverseKL(log_density) or FlowMatching(), received {given[name]!r}{made}."
            )
        raise ValueError(
            f"{type(flow).__name__}.compile expects no {name}=, received {given[name]!r}: a flow reports nll and "
            f"bits_per_dim. Leave {name} out."
        )


def check_training(flow):
    """Raise if `flow`, compiled as it is, would not learn what it is given.

    NotImplementedError on an engine without gradients, or that would not share its batches as `keras.distribution`
    says; RuntimeError in a group of processes; ValueError for gradients that underflow or that are clipped before they
    are added up. What its objective raises comes first.
    """
    if not engine.supports_training:
        raise NotImplementedError(
            f"Keras's {engine.name} engine computes no gradients and cannot fit: set KERAS_BACKEND "
            f"to one of {', '.join(engines.ENGINES)}."
        )
    _check_distribution()
    flow.objective.check(flow)
    check_processes()
    optimizer = getattr(flow, "optimizer", None)
    _check_loss_scaling(flow, optimizer)
    _check_clipping(flow, optimizer)


def _check_distribution():
    distribution = keras.distribution.distribution()
    if distribution is None or distribution.device_mesh.devices.size == 1 or engine.name == "jax":
        return
    if isinstance(distribution, keras.distribution.DataParallel) and engine.processes() > 1:
        return  # processes share batches whether it is set or not
    raise NotImplementedError(
        f"keras.distribution shares batches and splits weights of flows on JAX, received "
        f"{type(distribution).__name__} on {engine.name}, where Keras 3.15 trains on one device without a word. "
        "Set KERAS_BACKEND=jax, or on PyTorch have torchrun start a process for each device (flowkit.distributed)."
    )


def _check_loss_scaling(flow, optimizer):
    # Keras scales the loss of a model in float16; this one is in float32, and its networks may not be.
    policies = {layer.dtype_policy.name for layer in layers_inside(flow)}
    if "mixed_float16" in policies and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "Flow expects networks in float16 to be trained with keras.optimizers.LossScaleOptimizer(optimizer), "
            "outside any GuardedOptimizer, since their gradients underflow; mixed_bfloat16 needs none."
        )


def _check_clipping(flow, optimizer):
    replicas = getattr(getattr(flow, "distribute_strategy", None), "num_replicas_in_sync", 1)
    while replicas > 1 and optimizer is not None:
        for word in ("clipnorm", "clipvalue", "global_clipnorm"):
            if getattr(optimizer, word, None):
                raise ValueError(
                    f"{word}={getattr(optimizer, word)} expects one replica, received {replicas} of tf.distribute: "
                    "Keras clips what each replica gives, before they are added up. Leave it out, or train on JAX."
                )
        optimizer = getattr(optimizer, "inner_optimizer", None)


def refuse_class_weight(asked, class_weight):
    """Raise ValueError for Keras's `class_weight`: what is trained is a density of data, not of classes."""
    if class_weight is not None:
        raise ValueError(
            f"Flow.{asked} has no classes to weigh: pass sample_weight=, one number for each sample."
        )


def with_first(callback, callbacks):
    """`callbacks` as `fit` takes them, with `callback` before them. A `CallbackList`, made for its model, stays."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [callback, *keras.tree.flatten(callbacks or [])]
