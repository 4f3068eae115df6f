"""What is folded gives what its parts give one by one: values, log-dets and gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import ActNorm, Chain, Conv1x1, Scale, Shift
from flowkit.bijectors.chain import Folded, fold
from flowkit.engines import engine

pytestmark = pytest.mark.two_engines

EPSILON = np.finfo("float32").eps


def parts(lu):
    rng = np.random.default_rng(0)
    chain = [Shift(0.5), ActNorm(), Conv1x1(lu=lu, seed=1), ActNorm(), ActNorm(), Conv1x1(lu=lu, seed=2)]
    x = rng.normal(50, 3, (6, 3, 2, 4)).astype("float32")
    for part in chain:
        part.adapt(x)
        for weight in part.trainable_weights:
            weight.assign_add(rng.normal(0, 0.1, weight.shape))
        x = ops.convert_to_numpy(part(x)[0])
    return chain


def one_by_one(chain, x, inverse):
    total = 0.0
    for part in reversed(chain) if inverse else chain:
        x, log_det = part(x, inverse=inverse)
        total = total + log_det
    return x, total


def test_only_an_actnorm_with_the_matrix_after_it_is_folded():
    def sizes(parts):
        return [2 if isinstance(step, Folded) else 1 for step in fold(parts)]

    assert sizes(parts(lu=True)) == [1, 2, 1, 2]
    assert sizes([Conv1x1(), ActNorm(), Scale(0.1)]) == [1, 1, 1]

    class Other(ActNorm):
        """Computes something else from the same scale."""

        def _forward(self, x, derived=None):
            return 2 * x, 0.0

    assert sizes([Other(), Conv1x1()]) == [1, 1]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("lu", [True, False])
def test_a_chain_gives_what_its_parts_give(lu, inverse):
    chain = parts(lu)
    x = np.random.default_rng(1).normal(0 if inverse else 50, 3, (5, 3, 2, 4)).astype("float32")
    cotangent = ops.convert_to_tensor(np.random.default_rng(2).normal(size=x.shape).astype("float32"))
    folded = Chain(chain)
    folded(x, inverse=inverse)
    weights = folded.trainable_variables
    start = [ops.convert_to_tensor(x), *(weight.value for weight in weights)]

    def answers(run):
        def loss(tensors):
            with keras.StatelessScope(state_mapping=list(zip(weights, tensors[1:], strict=True))):
                value, log_det = run(tensors[0])
            return ops.sum(value * cotangent) + ops.sum(log_det)

        found = [*run(start[0]), *engine.gradients(loss, start)[1]]
        return [ops.convert_to_numpy(tensor) for tensor in found]

    value, log_det, *gradients = answers(lambda x: folded(x, inverse=inverse))
    expected, expected_log_det, *expected_gradients = answers(lambda x: one_by_one(chain, x, inverse))
    # 50 is what cancels against the shifts; six parts, sums of four channels.
    np.testing.assert_allclose(value, expected, atol=6 * 4 * EPSILON * 50 * np.abs(expected).max())
    np.testing.assert_allclose(log_det, expected_log_det, rtol=32 * EPSILON)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=6 * 4 * EPSILON * 50 * np.abs(other).max())
