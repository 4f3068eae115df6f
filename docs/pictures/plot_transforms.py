"""
Four kinds of transforms
========================

Maps that couplings and autoregressive layers apply to a number. All are increasing, so they are invertible.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

x = np.linspace(-4, 4, 300, dtype="float32")[:, None]
x = ops.convert_to_tensor(x)
kinds = {
    "Affine()": (flowkit.transforms.Affine(), 1.0),
    "RationalQuadratic()": (flowkit.transforms.RationalQuadratic(), 1.5),
    "Bernstein()": (flowkit.transforms.Bernstein(), 2.0),
    "SigmoidMixture(3)": (flowkit.transforms.SigmoidMixture(3), 1.5),
}

figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.5))
for ax, (name, (transform, spread)) in zip(axes, kinds.items(), strict=True):
    for seed in range(5):
        raw = np.random.default_rng(seed).normal(0, spread, (1, transform.parameters, 1))
        raw = ops.convert_to_tensor(raw, "float32")
        y, _ = transform.forward(x, *transform.prepare(raw))
        ax.plot(ops.convert_to_numpy(x)[:, 0], ops.convert_to_numpy(y)[:, 0], linewidth=1.2)
    ax.set_title(name)
plt.show()
