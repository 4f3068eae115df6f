"""FFJORD beside zuko's CNF (PyTorch) or a small CNF of diffrax (JAX), at as many evaluations of the field.

    KERAS_BACKEND=torch python benchmarks/continuous.py --data FOLDER
    KERAS_BACKEND=jax python benchmarks/continuous.py --data FOLDER
    python benchmarks/continuous.py --print

Four targets: two moons, eight Gaussians, and two tables of UCI from the folder that benchmarks/tables.py describes:
MAGIC, the 10 measurements of a gamma-ray telescope, and the 16 coordinates of pens that write digits. Each library
trains a field of two hidden layers of width 64 on the same standardised rows by Adam with a cosine. The other library's
Dormand-Prince solver chooses its steps, to a tolerance of 1e-3; flowkit takes as many evaluations in steps of one
length. The test rows are scored to a tolerance of 1e-5 by both. Then the two take turns, step by step, for processor
times of one thread (medians). The results are in continuous.json.
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import numpy as np
from tabular.data import load

from flowkit.engines import engine

WIDTH, ROWS, RATE = 64, 256, 5e-3
LOOSE, TIGHT = 1e-3, 1e-5
FINE = 40  # steps of the classical Runge-Kutta method that leave errors far below TIGHT
STEPS = {"two moons": 200, "eight Gaussians": 200, "MAGIC": 480, "pen digits": 480}
TABLES = {"MAGIC": "magic", "pen digits": "penbased"}
BESIDE = {"torch": "zuko", "jax": "diffrax"}
FILE = Path(__file__).with_suffix(".json")


def two_moons(n, rng):
    """Return n rows of two half circles with noise of deviation 0.06."""
    angle, lower = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x[lower] = [1.0, 0.5] - x[lower]
    return x + rng.normal(0, 0.06, x.shape)


def eight_gaussians(n, rng):
    """Return n rows around eight places of a circle of radius 2, with noise of deviation 0.2."""
    angle = np.pi / 4 * rng.integers(8, size=n)
    return 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.2, (n, 2))


def rows_of(target, steps, folder):
    """Return (rows of all steps, rows of a test), standardised by the first."""
    if target in TABLES:
        table = load(TABLES[target], folder)
        train, test = np.resize(table.train, (steps * ROWS, table.train.shape[1])), table.test
    else:
        draw, rng = (
            {"two moons": two_moons, "eight Gaussians": eight_gaussians}[target],
            np.random.default_rng(1),
        )
        train, test = draw(steps * ROWS, rng), draw(4000, rng)
    mean, std = train.mean(axis=0), train.std(axis=0)
    return ((train - mean) / std).astype("float32"), ((test - mean) / std).astype("float32")


class Zuko:
    """zuko's CNF, with its own activation, initial weights and adaptive solver."""

    def __init__(self, features, seed, steps):
        import torch
        import zuko

        torch.manual_seed(seed)
        self.torch, self.calls = torch, itertools.count()
        self.flow = zuko.flows.CNF(features, hidden_features=(WIDTH, WIDTH), atol=LOOSE, rtol=LOOSE)
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
        """Return log p of rows, to the tight tolerance."""
        self.flow.transform.atol = self.flow.transform.rtol = TIGHT
        with self.torch.no_grad():
            found = self.flow().log_prob(self.torch.from_numpy(x)).numpy()
        self.flow.transform.atol = self.flow.transform.rtol = LOOSE
        return found


class Diffrax:
    """A CNF of 40 lines on diffrax, as in its documentation: exact divergence, Dormand-Prince, checkpointed steps."""

    def __init__(self, features, seed, steps):
        import diffrax
        import jax
        import jax.numpy as jnp

        sizes, rng = (features + 1, WIDTH, WIDTH, features), np.random.default_rng(seed)
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

        def log_prob(weights, x, tolerance):
            found = diffrax.diffeqsolve(
                diffrax.ODETerm(rate),
                diffrax.Dopri5(),
                1.0,
                0.0,
                None,
                (x, jnp.zeros(len(x))),
                weights,
                stepsize_controller=diffrax.PIDController(tolerance, tolerance),
            )
            z, integral = (part[-1] for part in found.ys)
            density = -0.5 * jnp.sum(z**2 + np.log(2 * np.pi), axis=1)
            return density + integral, found.stats["num_steps"]

        def step(weights, first, second, number, x):
            def loss(weights):
                log_p, count = log_prob(weights, x, LOOSE)
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
        """Return log p of rows, to the tight tolerance."""
        return np.asarray(self._log_prob(self.weights, x, TIGHT)[0])


class Ours:
    """flowkit's FFJORD with as many evaluations, in steps of the classical Runge-Kutta method."""

    def __init__(self, rows, seed, steps, evaluations):
        keras.utils.set_random_seed(seed)
        self.flow = self.made(rows, evaluations // 4)
        self.flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)))

    def made(self, rows, steps):
        """Return a flow of so many steps, adapted to rows."""
        hidden, features = [WIDTH, WIDTH], rows.shape[1]
        # Two features have small activations. On JAX storing them takes longer than computing them again.
        backprop = "stored" if features == 2 and engine.name == "torch" else "recompute"
        flow = flowkit.zoo.ffjord(
            features=features, hidden=hidden, steps=steps, trace="exact", backprop=backprop
        )
        return flow.adapt(rows)

    def step(self, x):
        """Train on a batch."""
        self.flow.train_on_batch(x)

    def log_prob(self, x):
        """Return log p of rows, by many steps."""
        fine = self.made(x, FINE)
        fine.set_weights(self.flow.get_weights())
        return fine.log_prob(x)


def timed(function, *given):
    """Return (the result, processor seconds)."""
    began = time.process_time()
    result = function(*given)
    return result, time.process_time() - began


def compare(target, steps, seed, folder):
    """Train both, first the other library for the mean number of its evaluations; then time both in turns."""
    name = BESIDE[engine.name]
    rows, test = rows_of(target, steps, folder)
    batches = rows.reshape(steps, ROWS, -1)
    other = {"zuko": Zuko, "diffrax": Diffrax}[name](rows.shape[1], seed, steps)
    evaluations = round(np.mean([other.step(batch) for batch in batches]))
    ours = Ours(rows, seed, steps, evaluations)
    for batch in batches:
        ours.step(batch)
    nll = {name: -other.log_prob(test).mean(), "flowkit": -ours.log_prob(test).mean()}
    turns, late = [], []
    for batch in batches[:20]:
        count, theirs = timed(other.step, batch)
        late.append(count)
        turns.append((theirs, timed(ours.step, batch)[1]))
    milliseconds = 1e3 * np.median(turns, axis=0)
    return {
        "target": target,
        "backend": engine.name,
        "seed": seed,
        "steps": steps,
        # Those of the other library in training, and while times were taken.
        "evaluations": {name: [evaluations, round(np.mean(late))], "flowkit": 4 * (evaluations // 4)},
        "nll": {key: round(float(value), 4) for key, value in nll.items()},
        "milliseconds": {name: round(milliseconds[0], 1), "flowkit": round(milliseconds[1], 1)},
    }


def table():
    """Return the measurements as a table in Markdown; times are those of a step over the evaluations in it."""
    lines = [
        "| data | other library | evaluations | nats | flowkit's | ms per evaluation | flowkit's |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in json.loads(FILE.read_text()):
        name = BESIDE[row["backend"]]
        trained, late = row["evaluations"][name]
        own = row["evaluations"]["flowkit"]
        cells = [row["target"], name, f"{trained}, {own}"]
        cells += [f"{row['nll'][one]:.2f}" for one in (name, "flowkit")]
        cells += [
            f"{row['milliseconds'][one] / count:.2f}" for one, count in ((name, late), ("flowkit", own))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", nargs="+", choices=STEPS, default=list(STEPS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps of training")
    parser.add_argument("--data", default="data")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    for target in () if options.print else options.targets:
        row = compare(target, round(options.share * STEPS[target]), options.seed, options.data)
        print(row, flush=True)
        known = json.loads(FILE.read_text()) if FILE.exists() else []
        known = [old for old in known if (old["target"], old["backend"]) != (target, engine.name)]
        found = sorted([*known, row], key=lambda row: (list(STEPS).index(row["target"]), row["backend"]))
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    print(table())


if __name__ == "__main__":
    main()
