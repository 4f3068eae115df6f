"""Training steps and weights between them, on engines that leave the weights in the model while they train."""


def train_step(model, own, *data):
    """Take `own(*data)`, Keras's training step of `model`, and average gradients over processes if Keras does not."""
    return own(*data)


def holds_weights(model):
    """Return whether the engine, between two steps, holds the weights of `model` outside of it."""
    return False


def settle(model):
    """Put weights that the engine holds between two steps back into `model`."""


def current(model, variable):
    """Return the value of a variable of `model`'s optimizer, also between two steps."""
    return variable.value


def after_fit(model):
    """Finish what `fit` has left on the device: deliver reports, and give each weight a value of its own."""
