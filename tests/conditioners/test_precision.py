"""Networks of our own compute in the type of their weights: `keras.ops.matmul` gives float32 for float64 on torch."""

import numpy as np
import pytest
from keras import ops

from flowkit.conditioners.context import ContextBias
from flowkit.conditioners.scaled import ScaledDense
from flowkit.engines import engine


@pytest.mark.parametrize("make", [ScaledDense, ContextBias])
def test_dense_layers_keep_float64(make, perturb):
    x = np.random.default_rng(0).normal(size=(4, 3))
    with engine.float64():
        layer = make(5)
        layer.build(x.shape)
        perturb(layer)
        given = ops.convert_to_tensor(x, dtype="float64")
        y = ops.convert_to_numpy(layer(given) if make is ScaledDense else layer(given, rank=2))
    kernel, bias, logs = (
        ops.convert_to_numpy(w)
        for w in (*layer.weights, *(np.zeros(5) for _ in range(3 - len(layer.weights))))
    )
    expected = (x @ kernel + bias) * np.exp(3 * logs)
    np.testing.assert_allclose(y, expected, rtol=64 * np.finfo("float64").eps)
