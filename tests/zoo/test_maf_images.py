"""Masked autoregressive flows of images: what each pixel depends on, and the inverse one pixel after another."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit import zoo
from flowkit.conditioners import CausalConvNet
from flowkit.contract import ContractError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 6, 5, 2), dtype="uint8")


def test_it_decodes_what_it_encoded_and_samples(images, perturb):
    flow = zoo.maf_images(input_shape=(6, 5, 2), width=8, depth=1, reach=2, mixtures=2)
    perturb(flow.adapt(images))
    assert (flow.decode(flow.encode(images)) == images).all()
    assert flow.sample(2, seed=0).shape == (2, 6, 5, 2)
    assert flow.exact == "bound"


def test_a_place_reads_its_window_alone(perturb):
    net = CausalConvNet(8, columns=5, depth=1, reach=2, features=3)
    x = np.random.default_rng(0).normal(size=(1, 30, 2)).astype("float32")
    net.build(x.shape)
    perturb(net)
    before = f64(net(ops.convert_to_tensor(x)))
    heard = np.zeros((30, 30), bool)  # place, by what was changed
    for place in range(30):
        other = x.copy()
        other[:, place] += 1
        heard[:, place] = np.abs(f64(net(ops.convert_to_tensor(other))) - before).max((0, 2)) > 1e-6
    row, column = np.divmod(np.arange(30), 5)
    up, side = row[:, None] - row, column[:, None] - column
    near = (up <= 2) & (np.abs(side) <= 2)
    np.testing.assert_array_equal(heard, near & ((up > 0) | ((up == 0) & (side > 0))))


def test_a_row_has_whole_columns():
    with pytest.raises(ContractError, match="a multiple of 4 places"):
        CausalConvNet(4, columns=4, features=2)(ops.ones((1, 6, 1)))
