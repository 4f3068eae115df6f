"""
Too narrow, too wide
====================

Ranks of the true parameter among posterior draws. They stay in the band if the posterior is right,
and leave it if the posterior is a fifth too narrow or too wide.
"""

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
theta = rng.normal(size=1000)
seen = theta + rng.normal(size=1000)  # then theta given it is normal, mean seen / 2, variance 1 / 2
draws = 100

figure, ax = plt.subplots(figsize=(6.6, 3.4))
u, lower, upper = flowkit.evaluation.rank_band(1000, draws=draws)
ax.fill_between(u, lower - u, upper - u, color="0.85", label="95 % band")
for name, stretch in {"right": 1.0, "too narrow": 0.8, "too wide": 1.25}.items():
    posterior = seen[:, None] / 2 + stretch * np.sqrt(0.5) * rng.normal(size=(1000, draws))
    ranks = (posterior < theta[:, None]).sum(axis=1)
    chance = flowkit.evaluation.uniformity(ranks, draws=draws)
    share = (ranks[:, None] <= np.arange(draws + 1)).mean(axis=0)
    ax.plot(u, share - u, label=f"{name}: {chance:.3f}")
ax.set(xlabel="u", ylabel="share of ranks at most u, less u")
ax.legend(title="chance if it were right", loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()
