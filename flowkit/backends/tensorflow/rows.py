"""Rows of tensors that a loop reads and writes step by step: TensorFlow's own update of a slice has no gradient."""

import tensorflow as tf

from flowkit.backends.any import rows as any_rows


class Rows(any_rows.Rows):
    """Rows along the first axis, of which the first `ends[k]` are there after step k, which counts from 0."""

    def written(self, x, k, rows):
        """`x` with the `rows` of step k; in the type of `x`, which nobody else may read: it may be written into."""
        place = tf.range(x.shape[0]) - self._start(k)
        inside = tf.logical_and(place >= 0, place < self._count)
        spread = tf.gather(tf.cast(rows, x.dtype), tf.clip_by_value(place, 0, self._count - 1))
        return tf.where(tf.reshape(inside, (-1, *(1,) * (len(x.shape) - 1))), spread, x)
