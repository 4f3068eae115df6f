"""
A density without samples
=========================

A flow trained by reverse KL on a density that is known up to a constant: contours show the density,
points show draws of the flow.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from flowkit.bijectors import Chain, Coupling
from flowkit.conditioners import MLP
from flowkit.objectives import ReverseKL
from flowkit.transforms import RationalQuadratic


@keras.saving.register_keras_serializable("gallery")
def wave(x):
    """Log-density up to a constant: a wave that fades."""
    a, b = x[:, 0], x[:, 1]
    return -0.5 * ops.square((b - ops.sin(1.5 * a)) / 0.3) - 0.5 * ops.square(a / 1.8)


flow = flowkit.Flow(Chain([Coupling(MLP([48]), RationalQuadratic(8), swap=bool(i % 2)) for i in range(3)]))
flow.build((None, 2))
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(8e-3, 300)), loss=ReverseKL(wave))
flow.fit(steps_per_epoch=300, batch_size=200, verbose=0)

across, up = np.linspace(-4.5, 4.5, 120), np.linspace(-2.2, 2.2, 80)
grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype("float32")
density = np.exp(ops.convert_to_numpy(wave(ops.convert_to_tensor(grid)))).reshape(80, 120)

figure, ax = plt.subplots(figsize=(6, 3))
ax.contour(across, up, density, levels=6, colors="0.6", linewidths=0.8)
ax.scatter(*flow.sample(800, seed=0).T, s=4, color="C1")
ax.set(xlim=(-4.5, 4.5), ylim=(-2.2, 2.2))
plt.show()
