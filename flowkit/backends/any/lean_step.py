"""The training step, on engines that compile Keras's own."""


def lean_train_step(model, own, *given):
    """`own(*given)`, the training step that Keras has for `model`, or the same with less around it."""
    return own(*given)


def add_to_means(means, totals, count):
    """Add `totals`, each a sum over `count` values, to `keras.metrics.Mean`s, as `update_state` does one by one."""
    for mean, total in zip(means, totals, strict=True):
        mean.total.assign_add(total)
        mean.count.assign_add(count)


def around_steps(step, model):
    """`step`, Keras's function for training steps of `model`, with what an engine does before and after them."""
    return step


def several_steps(own, step, count, at_once):
    """`own(state, iterator)`, Keras's function for `count` of its steps, or the same with less between them."""
    return own
