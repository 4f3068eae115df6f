"""Rows of a table, one for each label."""

import numpy as np
from keras import ops

from flowkit.engines import engine


def rows_of(table, labels):
    """table[labels], labels (batch,): NaN for a label that is no row, which engines answer in ways of their own."""
    labels = ops.cast(labels, "int32")
    there = ops.logical_and(labels >= 0, labels < table.shape[0])
    rows = ops.take(table, ops.where(there, labels, ops.zeros_like(labels)), axis=0)
    there = ops.reshape(there, (-1, *(1,) * (len(rows.shape) - 1)))
    return ops.where(there, rows, engine.constant(_nan, like=rows))


def _nan():
    return np.array(np.nan)
