"""
Shapes of a spline
==================

A rational-quadratic spline for raw numbers, as returned by a network, and its slope, which is always
positive.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

spline = flowkit.transforms.RationalQuadratic(bins=6, bound=3.0)
x = np.linspace(-4, 4, 400, dtype="float32")[:, None]

figure, (above, below) = plt.subplots(2, 1, figsize=(5.2, 5.2), sharex=True, height_ratios=(2, 1))
for seed in range(1, 4):
    raw = np.random.default_rng(seed).normal(0, 0.9, (1, spline.parameters, 1)).astype("float32")
    at, raw = ops.convert_to_tensor(x), ops.convert_to_tensor(raw)
    y, log_slope = (ops.convert_to_numpy(a)[:, 0] for a in spline.forward(at, *spline.prepare(raw)))
    above.plot(x[:, 0], y)
    below.plot(x[:, 0], np.exp(log_slope))
above.plot(x[:, 0], x[:, 0], color="0.7", linewidth=1, linestyle="--")
above.axvspan(-3, 3, color="0.95", zorder=-1)
above.set(ylabel="z", title="inside of the bound it bends, outside it is the identity")
below.set(xlabel="x", ylabel="dz / dx")
plt.show()
