"""
Likely, and strange
===================

Dimmed images have a higher likelihood than the training data, and plain grey ones the same: a high
likelihood does not mean that an image is typical.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

flow = flowkit.zoo.load("glow/fashion-mnist")

test = flowkit.data.load("fashion-mnist", "test").images[:100]
rng = np.random.default_rng(0)
grey = np.broadcast_to(rng.integers(0, 256, (100, 1, 1, 1)), test.shape).astype("uint8")
noisy = np.clip(test + rng.normal(0, 20, test.shape), 0, 255).astype("uint8")
kinds = {"test images": test, "with noise": noisy, "dimmed": test // 4, "plain grey": grey}

figure, ax = plt.subplots()
for name, images in kinds.items():
    ax.hist(flow.bits_per_dim(images), bins=np.linspace(0, 8, 90), alpha=0.6, label=name)
ax.set(xlabel="bits/dim: the fewer, the likelier", yticks=[])
ax.legend()
plt.show()
