"""
Pairs of columns
================

Four columns of different kinds, real, positive and a share, and the samples of a flow.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
a = rng.normal(size=3000) + 2 * rng.choice([-1, 1], 3000)
b = np.exp(0.5 * a + rng.normal(0, 0.3, 3000))
c = 1 / (1 + np.exp(-a + rng.normal(0, 0.5, 3000)))
x = np.stack([a, b, c], axis=1)

flow = flowkit.zoo.nsf(features=3, domains=["real", "positive", (0, 1)], layers=3, hidden=(48, 48))
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(6e-3, 240)))
flow.fit(x, batch_size=250, epochs=20, verbose=0)
samples = flow.sample(1200, seed=0)

figure, axes = plt.subplots(3, 3, figsize=(6, 6))
for i in range(3):
    for j in range(3):
        ax, ends = axes[i, j], np.quantile(x, [0.002, 0.998], axis=0).T
        if i == j:
            for drawn, colour in ((x, "C0"), (samples, "C1")):
                ax.hist(drawn[:, i], bins=40, range=ends[i], density=True, color=colour, alpha=0.5)
        else:
            ax.scatter(*(x if i < j else samples)[:1200, [j, i]].T, s=2, color="C0" if i < j else "C1")
            ax.set_ylim(ends[i])
        ax.set(xlim=ends[j], xticks=[], yticks=[])
figure.suptitle("data above the diagonal, samples below")
plt.show()
