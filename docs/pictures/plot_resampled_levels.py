"""
One level drawn again
=====================

Draw one level again to see its content: the first levels hold fine detail, the last one the overall
content.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

flow = flowkit.zoo.load("glow/fashion-mnist")

test = flowkit.data.load("fashion-mnist", "test")
images = np.stack([test.images[test.labels == label][0] for label in (0, 1, 2, 5, 7, 8, 9)])
rows = [images] + [flowkit.latent.resample(flow, images, [k], temperature=0.8, seed=0) for k in (0, 1)]

figure, ax = plt.subplots(figsize=(6.4, 2.9))
ax.imshow(flowkit.training.image_grid(np.concatenate(rows), columns=7), cmap="gray")
ax.set_yticks(14 + 30 * np.arange(3), ["image", "level 0 again", "level 1 again"])
ax.set_xticks([])
ax.tick_params(length=0)
ax.spines[:].set_visible(False)
plt.show()
