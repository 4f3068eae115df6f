"""How many replicas train one model, on engines on which it is one."""


def replicas():
    """How many replicas train one model, and each see the gradients of their own samples alone."""
    return 1


def replica_share(loss):
    """The share of one replica in `loss`, a mean over its own samples, if the engine adds up what replicas give."""
    return loss
