"""ScaledConv: equal to the published convolution written out, and its data-dependent start."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.conditioners import ConvNet, ScaledConv, TopPrior
from flowkit.engines import engine


def literal(x, layer):
    """The published way: pad, append a channel that is 1 on the ring, convolve VALID; float64, by loops."""
    kernel, bias, logs = f64(layer.kernel), f64(layer.bias), f64(layer.logs)
    k = kernel.shape[0]
    p = k // 2
    n, h, w, _ = x.shape
    padded = np.pad(x.astype("float64"), ((0, 0), (p, p), (p, p), (0, 0)))
    if layer.edge_bias:
        ring = np.pad(np.zeros((n, h, w, 1)), ((0, 0), (p, p), (p, p), (0, 0)), constant_values=1)
        padded = np.concatenate([padded, ring], axis=-1)
    y = np.zeros((n, h, w, kernel.shape[-1]))
    for i in range(k):
        for j in range(k):
            y += padded[:, i : i + h, j : j + w] @ kernel[i, j]
    return (y + bias) * np.exp(layer.factor * logs)


@pytest.mark.wide("kernel_size")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("edge_bias", [True, False])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_it_is_the_published_convolution(kernel_size, edge_bias, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 4, 3)).astype(dtype)

    def run():
        layer = ScaledConv(6, kernel_size, edge_bias=edge_bias, dtype=dtype)
        layer.build(x.shape)
        for weight in layer.trainable_weights:
            weight.assign(rng.normal(0, 0.2, tuple(weight.shape)))
        return layer, ops.convert_to_numpy(layer(ops.convert_to_tensor(x, dtype=dtype)))

    if dtype == "float64":
        with engine.float64():
            layer, y = run()
            expected = literal(x, layer)
    else:
        layer, y = run()
        expected = literal(x, layer)
    assert tuple(layer.kernel.shape) == (kernel_size, kernel_size, 3 + (edge_bias and kernel_size > 1), 6)
    terms = kernel_size**2 * 4
    atol = 4 * terms * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(y, expected, atol=atol)


def test_the_edge_channel_tells_a_border_from_a_black_pixel():
    layer = ScaledConv(1, 3)
    layer.build((None, 4, 4, 1))
    layer.kernel.assign(np.concatenate([np.zeros((3, 3, 1, 1)), np.ones((3, 3, 1, 1))], axis=2))
    y = f64(layer(ops.zeros((1, 4, 4, 1))))[0, ..., 0]
    np.testing.assert_array_equal(y, [[5, 3, 3, 5], [3, 0, 0, 3], [3, 0, 0, 3], [5, 3, 3, 5]])


@pytest.mark.parametrize("net", [ScaledConv(4, zeros=True), ConvNet(8, features=4), TopPrior()])
def test_last_layers_start_at_zero(net):
    y = net(ops.ones((2, 4, 4, 2)))
    assert y.shape[-1] == 4
    np.testing.assert_array_equal(f64(y), np.zeros(tuple(y.shape)))


def test_adapt_takes_statistics_whatever_the_weights_were():
    x = np.random.default_rng(0).normal(4, 3, (8, 4, 4, 3)).astype("float32")
    layer = ScaledConv(5, 3)
    layer.build(x.shape)
    layer.bias.assign(np.full(5, 7.0))
    layer.logs.assign(np.full(5, 0.7))
    y = f64(layer.adapt(x))
    bound = 128 * 27 * np.finfo("float32").eps * np.abs(x).max()  # 128 sums of 27 terms
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=bound)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=bound)


def test_an_even_kernel_has_no_middle():
    with pytest.raises(ValueError, match="kernel_size: got 2, expected an odd number"):
        ScaledConv(4, 2)
