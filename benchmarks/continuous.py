"""FFJORD on two moons beside zuko's CNF (PyTorch) or a small CNF of diffrax (JAX), at as many evaluations of the field.

    KERAS_BACKEND=torch python benchmarks/continuous.py --seeds 3
    KERAS_BACKEND=jax python benchmarks/continuous.py --seeds 3

Each library trains a field of two hidden layers of width 64 on the same rows by Adam with a cosine; the other
library's solver chooses its steps, and flowkit's takes as many evaluations in steps of one length. The two take turns,
step by step. Prints processor time of one thread for a step (median) and the negative test log-likelihood, and stores
them in continuous.json.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import keras
import numpy as np

import flowkit  # before Keras, which chooses its backend on import
from flowkit.engines import engine

WIDTH, ROWS, RATE = 64, 256, 5e-3
FILE = Path(__file__).with_name("continuous.json")


def two_moons(n, seed):
    """Return n rows of two half circles with noise of deviation 0.06."""
    rng = np.random.default_rng(seed)
    angle, lower = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x[lower] = [1.0, 0.5] - x[lower]
    return (x + rng.normal(0, 0.06, x.shape)).astype("float32")


class Zuko:
    """zuko's CNF, with its own activation, initial weights and adaptive solver."""

    def __init__(self, seed, steps):
        import torch
        import zuko

        torch.manual_seed(seed)
        self.torch, self.calls = torch, itertools.count()
        self.flow = zuko.flows.CNF(2, hidden_features=(WIDTH, WIDTH))
        field = self.flow.transform.f
        self.flow.transform.f = lambda *given, **more: (next(self.calls), field(*given, **more))[1]
        self.optimizer = torch.optim.Adam(self.flow.parameters(), RATE)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def step(self, x):
        """Train on a batch; return the number of evaluations of the field in the way to the loss."""
        before = next(self.calls)
        loss = -self.flow().log_prob(self.torch.from_numpy(x)).mean()
        evaluations = next(self.calls) - before - 1
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return evaluations

    def log_prob(self, x):
        """Return log p of rows."""
        with self.torch.no_grad():
            return self.flow().log_prob(self.torch.from_numpy(x)).numpy()


class Diffrax:
    """A CNF of 40 lines on diffrax, as in its documentation: exact divergence, Dormand-Prince, checkpointed steps."""

    def __init__(self, seed, steps):
        import diffrax
        import jax
        import jax.numpy as jnp

        sizes, rng = (3, WIDTH, WIDTH, 2), np.random.default_rng(seed)
        self.weights = [
            (jnp.asarray(rng.normal(0, a**-0.5, (a, b)), "float32"), jnp.zeros(b))
            for a, b in itertools.pairwise(sizes)
        ]

        def field(x, t, weights):
            h = jnp.append(x, t)
            for kernel, bias in weights[:-1]:
                h = jnp.tanh(h @ kernel + bias)
            return h @ weights[-1][0] + weights[-1][1]

        def rate(t, state, weights):
            def one(x):
                jacobian, v = jax.jacfwd(lambda x: (field(x, t, weights),) * 2, has_aux=True)(x)
                return v, jnp.trace(jacobian)

            return jax.vmap(one)(state[0])

        def log_prob(weights, x):
            found = diffrax.diffeqsolve(
                diffrax.ODETerm(rate),
                diffrax.Dopri5(),
                1.0,
                0.0,
                None,
                (x, jnp.zeros(len(x))),
                weights,
                stepsize_controller=diffrax.PIDController(1e-5, 1e-5),
            )
            z, integral = (part[-1] for part in found.ys)
            density = -0.5 * jnp.sum(z**2, axis=1) - np.log(2 * np.pi)
            return density + integral, found.stats["num_steps"]

        def step(weights, first, second, number, x):
            def loss(weights):
                log_p, count = log_prob(weights, x)
                return -log_p.mean(), count

            (_, count), grads = jax.value_and_grad(loss, has_aux=True)(weights)
            rate = 0.5 * RATE * (1 + jnp.cos(jnp.pi * (number - 1) / steps))
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, grads)
            weights = jax.tree.map(
                lambda w, m, v: w - rate * m / (1 - 0.9**number) / (jnp.sqrt(v / (1 - 0.999**number)) + 1e-7),
                weights,
                first,
                second,
            )
            return weights, first, second, 6 * count

        self._step, self._log_prob, self.number = jax.jit(step), jax.jit(log_prob), 0
        self.moments = [jax.tree.map(jnp.zeros_like, self.weights) for _ in range(2)]

    def step(self, x):
        """Train on a batch; return the number of evaluations of the field in the way to the loss."""
        self.number += 1
        self.weights, *self.moments, count = self._step(self.weights, *self.moments, float(self.number), x)
        return int(count)

    def log_prob(self, x):
        """Return log p of rows."""
        return np.asarray(self._log_prob(self.weights, x)[0])


class Ours:
    """flowkit's FFJORD with as many evaluations, in steps of the classical Runge-Kutta method."""

    def __init__(self, seed, steps, evaluations):
        keras.utils.set_random_seed(seed)
        self.flow = flowkit.zoo.ffjord(features=2, hidden=[WIDTH, WIDTH], steps=max(1, evaluations // 4))
        self.flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)))
        self.flow.adapt(two_moons(10_000, seed=0))

    def step(self, x):
        """Train on a batch."""
        self.flow.train_on_batch(x)

    def log_prob(self, x):
        """Return log p of rows."""
        return self.flow.log_prob(x)


def timed(function, *given):
    """Return (the result, processor seconds)."""
    began = time.process_time()
    result = function(*given)
    return result, time.process_time() - began


def compare(seed, steps):
    """Train both, first the other library for the mean number of its evaluations; then time both in turns."""
    name = {"torch": "zuko", "jax": "diffrax"}[engine.name]
    rows, test = two_moons(steps * ROWS, seed=1), two_moons(4000, seed=2)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    standard = (rows - mean) / std
    other = {"zuko": Zuko, "diffrax": Diffrax}[name](seed, steps)
    counts = [other.step(standard[i * ROWS : (i + 1) * ROWS]) for i in range(steps)]
    evaluations = round(float(np.mean(counts)))
    ours = Ours(seed, steps, evaluations)
    for i in range(steps):
        ours.step(rows[i * ROWS : (i + 1) * ROWS])
    scores = {
        name: float((np.log(std).sum() - other.log_prob((test - mean) / std)).mean()),
        "flowkit": float(-ours.log_prob(test).mean()),
    }
    turns, late = [], []
    for i in range(20):
        batch = slice(i * ROWS, (i + 1) * ROWS)
        count, theirs = timed(other.step, standard[batch])
        late.append(count)
        turns.append((theirs, timed(ours.step, rows[batch])[1]))
    seconds = np.median(turns, axis=0)
    return {
        "seed": seed,
        "steps": steps,
        "evaluations": {
            name: [evaluations, round(float(np.mean(late)))],
            "flowkit": 4 * max(1, evaluations // 4),
        },
        "nll": scores,
        "milliseconds": {name: round(1e3 * seconds[0], 1), "flowkit": round(1e3 * seconds[1], 1)},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    found[engine.name] = []
    for seed in range(options.seeds):
        found[engine.name].append(compare(seed, options.steps))
        print(found[engine.name][-1], flush=True)
        FILE.write_text(json.dumps(found, indent=1) + "\n")
