"""
Heavy tails
===========

The same flow with a normal and with a Student-t base, on data with far outliers. The base
sets the tails.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from flowkit.distributions import StudentT

x = np.random.default_rng(0).standard_t(2.0, (4000, 1))
at = np.linspace(0.5, 40, 200)

figure, ax = plt.subplots()
for name, base in {"normal base": None, "Student-t base": StudentT(df=4.0, learn=True)}.items():
    flow = flowkit.zoo.nsf_autoregressive(features=1, layers=1, base=base)
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-2, 320)))
    flow.fit(x, batch_size=250, epochs=20, verbose=0)
    ax.loglog(at, np.exp(flow.log_prob(at[:, None])), label=name)
ax.loglog(at, stats.t(2).pdf(at), color="0.5", linestyle="--", linewidth=1, label="the truth")
ax.set(xlabel="x", ylabel="density", ylim=(1e-7, 1))
ax.legend()
plt.show()
