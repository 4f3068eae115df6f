"""How many replicas train one model: those of TensorFlow's strategy."""

import tensorflow as tf


def replicas():
    """How many replicas train one model, and each see the gradients of their own samples alone."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_share(loss):
    """The share of one replica in `loss`, a mean over its own samples, if the engine adds up what replicas give."""
    return loss / replicas()
