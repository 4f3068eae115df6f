"""
Along an attribute
==================

Add the difference of the mean latents of boots and sandals to sandals, by amounts from 0 to 1.5.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

flow = flowkit.zoo.load("glow/fashion-mnist")

train, test = (flowkit.data.load("fashion-mnist", split) for split in ("train", "test"))
both = np.flatnonzero(np.isin(train.labels, (5, 9)))[:400]
direction = flowkit.latent.attribute_direction(flow, train.images[both], train.labels[both] == 9)
sandals = test.images[test.labels == 5][:8]
amounts = (0.0, 0.5, 1.0, 1.5)
moved = flowkit.latent.manipulate(flow, sandals, direction, amounts, check=None)

figure, ax = plt.subplots(figsize=(6.4, 3.4))
ax.imshow(flowkit.training.image_grid(moved.reshape(-1, 28, 28, 1), columns=8), cmap="gray")
ax.set_yticks(14 + 30 * np.arange(4), amounts)
ax.set(xticks=[], ylabel="amount")
ax.tick_params(length=0)
ax.spines[:].set_visible(False)
plt.show()
