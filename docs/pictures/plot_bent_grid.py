"""
A grid, bent
============

An untrained flow maps lines of the latent plane to data. The lines get no new crossings, because the
map is invertible.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

from flowkit.bijectors import Chain, Coupling
from flowkit.conditioners import MLP
from flowkit.transforms import RationalQuadratic

flow = flowkit.Flow(
    Chain([Coupling(MLP([16]), RationalQuadratic(bound=3.0), swap=bool(i % 2)) for i in range(3)])
)
flow.build((None, 2))
rng = np.random.default_rng(4)
for weight in flow.trainable_variables:
    weight.assign(weight + rng.normal(0, 0.3, weight.shape))

along, across = np.linspace(-2.7, 2.7, 200), np.linspace(-2.7, 2.7, 19)
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2))
for value in across:
    for axis, colour in ((0, "C0"), (1, "C1")):
        line = np.full((200, 2), value, "float32")
        line[:, axis] = along
        left.plot(*line.T, color=colour, linewidth=0.8)
        right.plot(*flow.decode(line, check=None).T, color=colour, linewidth=0.8)
for ax, title in ((left, "latents z"), (right, "data x")):
    ax.set(title=title, aspect="equal")
plt.show()
