"""What would go wrong in training, most of it without a word, is refused before it begins."""

import keras

from flowkit import backends


def check_training(flow):
    """Raise if `flow`, compiled as it is, would not learn what it is given.

    NotImplementedError on an engine without gradients, RuntimeError in a group of processes, and ValueError for
    gradients that underflow or that are clipped before they are added up. What its objective raises comes first.
    """
    if not backends.SUPPORTS_TRAINING:
        raise NotImplementedError(
            f"Keras's {backends.name()} engine computes no gradients and cannot fit: set KERAS_BACKEND "
            f"to one of {', '.join(backends.ENGINES)}."
        )
    flow.objective.check(flow)
    _check_processes()
    optimizer = getattr(flow, "optimizer", None)
    _check_loss_scaling(flow, optimizer)
    _check_clipping(flow, optimizer)


def _check_processes():
    count = backends.processes()
    if count > 1:
        raise RuntimeError(
            f"fit expects one process on {backends.name()}, received a group of {count}: gradients are not averaged "
            "over processes, so each would train weights of its own. Train in one process, or on JAX, which takes "
            "several devices of a host."
        )


def _check_loss_scaling(flow, optimizer):
    # Keras scales the loss of a model in float16; this one is in float32, and its networks may not be.
    policies = {layer.dtype_policy.name for layer in flow._flatten_layers()}
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


def with_first(callback, callbacks):
    """`callbacks` as `fit` takes them, with `callback` before them. A `CallbackList`, made for its model, stays."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [callback, *keras.tree.flatten(callbacks or [])]


def check_division(count, batch_size=None):
    """Raise ValueError if a batch of `count` rows in batches of `batch_size` cannot be dealt out evenly to devices.

    `batch_size` None is Keras's 32. The last batch, of what is left, counts as well.
    """
    devices = _devices_of_a_batch()
    size = min(batch_size or 32, count)
    for rows in {size, count % size} if size else ():
        if rows % devices:
            raise ValueError(
                f"several devices expect batches that they can share evenly: received a batch of {rows} rows for "
                f"{devices} devices, of {count} rows in batches of {size}. Take a batch_size that is a multiple of "
                f"{devices}, and leave out the last {count % devices} rows."
            )


def _devices_of_a_batch():
    """How many devices share a batch under `keras.distribution`; 1 without it."""
    distribution = keras.distribution.distribution()
    if distribution is None or distribution.batch_dim_name is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
