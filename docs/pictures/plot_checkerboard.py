"""
Checkerboard
============

Sharp edges with holes: an autoregressive spline flow, which samples in one pass per column.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
column, row = rng.integers(0, 4, 5000), 2 * rng.integers(0, 2, 5000)
x = np.stack([column, row + column % 2], axis=1) + rng.random((5000, 2)) - 2.0

flow = flowkit.zoo.nsf_autoregressive(features=2, layers=3, hidden=(64, 64), bins=12)
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(8e-3, 400)))
flow.fit(x, batch_size=250, epochs=20, verbose=0)

side = np.linspace(-2.4, 2.4, 120)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
density = np.exp(flow.log_prob(grid)).reshape(120, 120)

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), sharex=True, sharey=True)
left.scatter(*x.T, s=2)
right.pcolormesh(side, side, density, vmax=np.quantile(density, 0.99))
left.set(title="data", aspect="equal")
right.set(title="density", aspect="equal")
plt.show()
