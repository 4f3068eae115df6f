"""Flows of draws, as proposals of importance sampling, and the ratio that estimates 1 / Z from draws of p."""

from typing import NamedTuple

import keras
import numpy as np

from flowkit import zoo
from flowkit.bijectors import Chain
from flowkit.flow.flow import Flow
from flowkit.flow.seeding import fit_in_order, seeded
from flowkit.flow.tempering import Student
from flowkit.training import Validation

_WIDE = 0.1  # the share of Student's t in a proposal, which bounds the weights far out
_DENSEST = 0.7  # the share of a flow's mass whose density is compared with p
_LEVELS = 20_000  # draws that find the level of that share


def new_flow(features: int, seed: int, base: keras.Layer | None = None) -> Flow:
    """Return an untrained flow of rows: a Gaussian in closed form, couplings with scales, then with splines."""
    options = {"features": features, "base": base}
    with seeded(seed):
        if features == 1:
            return zoo.nsf_autoregressive(
                layers=2, hidden=[32], marginals=False, start="closed form", **options
            )
        options |= {"hidden": [64, 64], "linear": "permutation"}
        # Scales reach beyond the draws, as the width of a funnel does, where splines are the identity.
        scales = zoo.realnvp(layers=2, start="closed form", **options).bijector
        splines = zoo.nsf(layers=4, bound=8.0, marginals=False, start="standardized", **options).bijector
        flow = Flow(Chain([scales, splines]), base)
        flow.build((None, features))
    return flow


def train(flow: Flow, rows: np.ndarray, held: np.ndarray, *, seed: int, epochs: int, rate: float) -> None:
    """Train a flow on `rows` by maximum likelihood, and keep the weights with the best mean over rows `held` out."""
    batch = min(256, len(rows))
    steps = -(-len(rows) // batch)
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    flow.compile(keras.optimizers.AdamW(schedule, weight_decay=1e-4, global_clipnorm=5.0))
    best = Validation(held.astype("float32"), early_stopping=max(3, epochs // 4))
    rows = rows.astype("float32")
    fit_in_order(flow, rows, batch_size=batch, seed=seed, epochs=epochs, callbacks=[best], verbose=0)


class Proposal(NamedTuple):
    """Nine tenths of a flow's draws and one tenth of those of a wide Student's t."""

    flow: Flow
    wide: Student

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return `n` draws, (n, features), as float32."""
        far = self.wide.draw(round(_WIDE * n), rng)
        near = self.flow.sample(n - len(far), seed=int(rng.integers(2**31)))
        return rng.permutation(np.concatenate([near, far]).astype("float32"))

    def log_prob(self, u: np.ndarray) -> np.ndarray:
        """Return log q of float32 rows, (n,), in float64."""
        near = self.flow.log_prob(u).astype("float64")
        return np.logaddexp(np.log1p(-_WIDE) + near, np.log(_WIDE) + self.wide.log_prob(u.astype("float64")))


def log_reciprocals(flow: Flow, u: np.ndarray, log_p: np.ndarray, seed: int) -> np.ndarray:
    """Return log of q / p at draws u of p, (n,), whose mean is 1 / Z, where q is the densest part of a flow.

    It is the part above the level that 0.7 of the flow's mass exceeds, divided by 0.7, so it lies inside the mass of p
    and no ratio is large. -inf elsewhere.
    """
    levels = flow.log_prob(flow.sample(_LEVELS, seed=seed))
    log_q = flow.log_prob(u.astype("float32")).astype("float64")
    inside = log_q > np.quantile(levels, 1 - _DENSEST)
    return np.where(inside, log_q - np.log(_DENSEST) - log_p, -np.inf)
