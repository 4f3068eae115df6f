"""
Two angles
==========

On a torus -pi and pi are the same place. A circular spline flow has no seam there.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
first = rng.vonmises(2.8, 2.0, 3000)
second = first + rng.vonmises(0.0, 6.0, 3000) + 0.8 * np.sin(2 * first)
x = (np.stack([first, second], axis=1) + np.pi) % (2 * np.pi) - np.pi

flow = flowkit.zoo.circular_nsf(features=2, layers=4, hidden=(32, 32))
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(6e-3, 180)))
flow.fit(x, batch_size=250, epochs=15, verbose=0)

side = np.linspace(-np.pi, np.pi, 120, endpoint=False)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
density = np.exp(flow.log_prob(grid)).reshape(120, 120)

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), sharex=True, sharey=True)
left.scatter(*x.T, s=2)
right.pcolormesh(side, side, density)
for ax, title in ((left, "data"), (right, "density, the same across each edge")):
    ax.set(title=title, aspect="equal", xlim=(-np.pi, np.pi), ylim=(-np.pi, np.pi))
    ax.set_xticks([-np.pi, 0, np.pi], [r"-$\pi$", "0", r"$\pi$"])
    ax.set_yticks([-np.pi, 0, np.pi], [r"-$\pi$", "0", r"$\pi$"])
plt.show()
