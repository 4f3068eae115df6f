"""
One number, given another
=========================

The distribution of y for each x: the bands contain 50 % and 90 %.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, (3000, 1))
y = np.sin(2 * x) + (0.1 + 0.15 * (x + 2)) * rng.gamma(2.0, size=x.shape)

flow = flowkit.zoo.nsf_autoregressive(features=1, context=1, layers=1, hidden=(48, 48))
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(8e-3, 240)))
flow.fit(y, context=x, batch_size=250, epochs=20, verbose=0)

at = np.linspace(-2, 2, 60)[:, None]
draws = flow.sample(400, context=at, seed=0)[..., 0]  # (400, 60)
levels = np.quantile(draws, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)

figure, ax = plt.subplots()
ax.scatter(x[:1000], y[:1000], s=3, color="0.6")
for low, high, alpha in ((0, 4, 0.25), (1, 3, 0.4)):
    ax.fill_between(at[:, 0], levels[low], levels[high], color="C0", alpha=alpha, linewidth=0)
ax.plot(at[:, 0], levels[2], color="C0")
ax.set(xlabel="x", ylabel="y")
plt.show()
