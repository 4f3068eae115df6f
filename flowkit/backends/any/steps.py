"""Steps that fail, on engines that leave the weights where they are while they train."""


def giving_back(step, model):
    """`step(state, iterator)` of Keras's trainer; if it raises, `model` gets its weights back, unless they are gone."""
    return step


def holds_weights(model):
    """Whether the engine holds the weights of `model`, between two steps, and no other values stand for them."""
    return False


def settle(model):
    """Between two steps: put weights that the engine holds back into `model`. Raises RuntimeError if they are lost."""


def unshare(model):
    """When `fit` has ended: a value of its own for each weight, where averages were put in place."""


def current(model, variable):
    """The value of a variable of `model`'s optimizer, also between two steps; the other weights stay where they are."""
    return variable.value
