"""
Latents against the normal
==========================

Quantiles of the latents of test images: where they leave the line, their tails are heavier than those
of the base density.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

flow = flowkit.zoo.load("glow/fashion-mnist")
test = flowkit.data.load("fashion-mnist", "test").images[:200]
levels = flow.bijector.split_latents(flow.encode(test))

figure, ax = plt.subplots(figsize=(3.8, 3.8))
ax.plot([-4.5, 4.5], [-4.5, 4.5], color="0.7", linewidth=1)
for level, z in enumerate(levels):
    z = np.sort(np.ravel(z))
    share = (np.arange(len(z)) + 0.5) / len(z)
    few = np.unique(np.linspace(0, len(z) - 1, 300).astype(int).tolist() + list(range(40)))
    ax.plot(stats.norm.ppf(share[few]), z[few], ".", markersize=3, label=f"level {level}")
ax.set(xlabel="normal", ylabel="latents", aspect="equal", xlim=(-4.8, 4.8), ylim=(-6, 6))
ax.legend()
plt.show()
