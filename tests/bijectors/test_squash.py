"""Exp, Softplus, Sigmoid, Logit, Tanh: values, and that both tails stay exact."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Exp, Logit, Sigmoid, Softplus, Tanh

pytestmark = pytest.mark.one_engine

EPSILON = np.finfo("float32").eps


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# bijector -> (value, log-derivative) in float64
TRUTH = {
    Exp: (np.exp, lambda x: x),
    Softplus: (softplus, lambda x: -softplus(-x)),
    Sigmoid: (lambda x: np.exp(-softplus(-x)), lambda x: -softplus(x) - softplus(-x)),
    Tanh: (np.tanh, lambda x: 2 * (np.log(2) - np.abs(x) - np.log1p(np.exp(-2 * np.abs(x))))),
}


@pytest.mark.parametrize("kind", TRUTH)
def test_values_and_log_derivatives_far_into_both_tails(kind):
    x = np.concatenate([-np.logspace(-3, 1.9, 40), [0.0], np.logspace(-3, 1.9, 40)]).astype("float32")[
        :, None
    ]
    value, log_slope = (function(x.astype("float64")) for function in TRUTH[kind])
    y, log_det = kind()(x)
    # exp turns a rounding of its argument, up to 80 here, into a relative error of 80 eps.
    np.testing.assert_allclose(f64(y), value, rtol=2 * 80 * EPSILON, atol=1e-38)
    np.testing.assert_allclose(f64(log_det), log_slope[:, 0], rtol=8 * EPSILON, atol=8 * EPSILON)


def test_logit_is_sigmoid_read_backwards():
    y = np.array([[0.1, 0.5, 0.9]], "float32")
    for one, other in zip(Logit()(y), Sigmoid().inverse(y), strict=True):
        np.testing.assert_array_equal(f64(one), f64(other))
    np.testing.assert_allclose(f64(Logit()(y)[0]), [[-np.log(9), 0, np.log(9)]], atol=8 * EPSILON * 3)
