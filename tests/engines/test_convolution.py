"""Convolutions one after another, in as few copies as PyTorch needs."""

import numpy as np
import pytest

from flowkit.engines import engine

if engine.name != "torch":
    pytest.skip("other engines compile whole steps", allow_module_level=True)

import torch

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize("mapped", [False, True])
def test_convolutions_in_turn_are_keras_own(mapped):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(2, 5, 5, 3)), requires_grad=True)
    sizes = [(3, 3, 6), (1, 6, 6), (3, 6, 4)]
    kernels = [torch.tensor(rng.normal(size=(k, k, a, b)), requires_grad=True) for k, a, b in sizes]
    biases = [
        torch.tensor(rng.normal(size=(1, 5, 5, b) if mapped else b), requires_grad=True) for _, _, b in sizes
    ]
    scales = [torch.tensor(rng.normal(size=b), requires_grad=True) for _, _, b in sizes]
    layers = [(engine.scaled_kernel(k, s), b) for k, b, s in zip(kernels, biases, scales, strict=True)]
    y, h = engine.convolve_in_turn(x, layers), x
    for i, (k, b, s) in enumerate(zip(kernels, biases, scales, strict=True)):
        h = torch.nn.functional.conv2d(
            h.permute(0, 3, 1, 2), (k * s).permute(3, 2, 0, 1), padding=k.shape[0] // 2
        ).permute(0, 2, 3, 1)
        h = h + b if i == 2 else torch.relu(h + b)
    torch.testing.assert_close(y, h)
    leaves = [x, *kernels, *biases, *scales]
    found, known = (torch.autograd.grad(a.square().sum(), leaves) for a in (y, h))
    for one, other in zip(found, known, strict=True):
        torch.testing.assert_close(one, other)
