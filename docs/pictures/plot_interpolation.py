"""
From one image to another
=========================

Four pairs of test images and the images between them, along arcs in the space of latents.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

flow = flowkit.zoo.load("glow/fashion-mnist")

test = flowkit.data.load("fashion-mnist", "test")
starts, ends = (
    np.stack([test.images[test.labels == k][1] for k in kind]) for kind in ((5, 0, 1, 8), (9, 6, 3, 2))
)
ways = flowkit.latent.interpolate(flow, starts, ends, 9, path="spherical")  # (9, 4, 28, 28, 1)
strip = ways.swapaxes(0, 1).reshape(-1, 28, 28, 1)

figure, ax = plt.subplots(figsize=(6.4, 3))
ax.imshow(flowkit.training.image_grid(strip, columns=9), cmap="gray")
ax.axis("off")
plt.show()
