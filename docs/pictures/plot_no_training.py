"""
Without training
================

``adapt`` sets all weights of a Gaussianization flow from data, without ``fit``.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
turn = 3 * np.pi * np.sqrt(rng.random(4000))
arm = rng.choice([-1.0, 1.0], 4000)
x = (arm * turn / 3)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1) + rng.normal(
    0, 0.12, (4000, 2)
)

flow = flowkit.zoo.gaussianization(features=2, layers=16).adapt(x)

side = np.linspace(-4, 4, 120)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
density = np.exp(flow.log_prob(grid)).reshape(120, 120)

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), sharex=True, sharey=True)
left.scatter(*x.T, s=2)
right.pcolormesh(side, side, density, vmax=np.quantile(density, 0.995))
left.set(title="data", aspect="equal", xlim=(-4, 4), ylim=(-4, 4))
right.set(title="density", aspect="equal")
plt.show()
