"""
Where the bits go
=================

Bits of test images by level of the shipped Glow, one point per image.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt

flow = flowkit.zoo.load("glow/fashion-mnist")

test = flowkit.data.load("fashion-mnist", "test")
bits = flowkit.evaluation.level_bits(flow, test.images[:300])

figure, ax = plt.subplots(figsize=(5.2, 3.8))
for label in (1, 8, 9):
    some = test.labels[:300] == label
    ax.scatter(*bits[some].T, s=12, label=test.classes[label])
ax.set(
    xlabel="level 0, bits/dim", ylabel="level 1, bits/dim", title="detail and shape are not bought together"
)
ax.legend()
plt.show()
