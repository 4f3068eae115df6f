"""
Two moons
=========

A neural spline flow of two columns: the data, its density, and its samples.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
angle, upper = np.pi * rng.random(3000), rng.random(3000) < 0.5
x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
x[upper] = [1.0, 0.5] - x[upper]
x += rng.normal(0, 0.08, x.shape)

flow = flowkit.zoo.nsf(features=2, layers=4, hidden=(64, 64))
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(6e-3, 240)))
flow.fit(x, batch_size=250, epochs=20, verbose=0)

# %%
# Evaluate ``log_prob`` on a grid to draw the density.

across, up = np.linspace(-1.6, 2.6, 120), np.linspace(-1.1, 1.6, 80)
grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
density = np.exp(flow.log_prob(grid)).reshape(80, 120)
samples = flow.sample(1500, seed=0)

figure, axes = plt.subplots(1, 3, figsize=(8.4, 2.6), sharex=True, sharey=True)
axes[0].scatter(*x[:1500].T, s=3)
axes[1].pcolormesh(across, up, density)
axes[2].scatter(*samples.T, s=3, color="C1")
for ax, title in zip(axes, ("data", "density", "samples"), strict=True):
    ax.set(title=title, aspect="equal", xlim=(-1.6, 2.6), ylim=(-1.1, 1.6))
plt.show()
