"""
Temperature
===========

Samples of the shipped Glow; the latents of each row are scaled by one number, from 0.2 to 1.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

flow = flowkit.zoo.load("glow/fashion-mnist")

temperatures = (0.2, 0.4, 0.6, 0.8, 1.0)
rows = np.concatenate([flow.sample(9, temperature=t, seed=3) for t in temperatures])

figure, ax = plt.subplots(figsize=(6.4, 3.7))
ax.imshow(flowkit.training.image_grid(rows, columns=9), cmap="gray")
ax.set_yticks(14 + 30 * np.arange(5), temperatures)
ax.set(xticks=[], ylabel="temperature")
ax.tick_params(length=0)
ax.spines[:].set_visible(False)
plt.show()
