"""
Training and held out
=====================

Two flows of the same table. With 300 rows the large one memorises them, and its likelihood of
other rows falls.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(1300, 4)) @ rng.normal(size=(4, 4)) + 0.5 * rng.normal(size=(1300, 4)) ** 2
train, held_out = x[:300], x[300:]

figure, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True)
for ax, hidden in zip(axes, (8, 128), strict=True):
    flow = flowkit.zoo.realnvp(features=4, layers=4, hidden=(hidden, hidden))
    flow.compile(keras.optimizers.Adam(3e-3))
    history = flow.fit(train, validation_data=(held_out,), batch_size=100, epochs=60, verbose=0).history
    ax.plot(history["loss"], label="training")
    ax.plot(history["val_loss"], label="held out")
    ax.set(title=f"networks of width {hidden}", xlabel="epoch", ylim=(8.2, 10.5))
axes[0].set_ylabel("-log p, nats")
axes[0].legend()
plt.show()
