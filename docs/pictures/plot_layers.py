"""
From data to noise, layer by layer
==================================

The latents of two moons after every two layers of a flow; colours show the angle on the moon. The
base density scores the last ones.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
angle, upper = np.pi * rng.random(3000), rng.random(3000) < 0.5
x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
x[upper] = [1.0, 0.5] - x[upper]
x += rng.normal(0, 0.08, x.shape)

flow = flowkit.zoo.nsf(features=2, layers=4, hidden=(64, 64))
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(6e-3, 240)))
flow.fit(x, batch_size=250, epochs=20, verbose=0)

# %%
# A chain is a list of bijectors, and a ``Repeat`` holds copies of a chain; call each of them separately.

*first, repeat = flow.bijector.parts
parts = [*first, *(part for copy in repeat.copies() for part in copy.parts)]
at, shown = x[:1500].astype("float32"), [x[:1500]]
for part in parts:
    at, _ = part(at)
    if isinstance(part, flowkit.bijectors.Coupling):
        shown.append(keras.ops.convert_to_numpy(at))

figure, axes = plt.subplots(1, len(shown), figsize=(10, 2.3))
for i, (ax, points) in enumerate(zip(axes, shown, strict=True)):
    ax.scatter(*points.T, s=2, c=np.where(upper, angle, angle + np.pi)[:1500], cmap="twilight")
    ax.set_title("data" if i == 0 else f"coupling {i}")
    ax.set(xticks=[], yticks=[])
plt.show()
