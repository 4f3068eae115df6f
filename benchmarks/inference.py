"""Errors of variational inference on five densities whose normaliser is known, beside the errors that reports state.

    KERAS_BACKEND=torch python benchmarks/inference.py            # trains what is not measured yet; prints the table
    KERAS_BACKEND=jax python benchmarks/inference.py --targets banana funnel
    python benchmarks/inference.py --print

One flow per target, all with the same layers and the same training: `ReverseKL`, annealed; then maximum likelihood of
weighted draws that a short random walk has moved, in six rounds; then `inference_report` with 20,000 draws. Each
measurement is a line of JSON in benchmarks/inference.jsonl. The posterior of the logistic regression needs scikit-learn
for its data; its normaliser comes from 300,000 importance weights of a Student-t distribution, to about 0.002.
"""

import argparse
import math
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import numpy as np
from keras import ops
from measuring.records import Records

from flowkit.objectives import ReverseKL

LOG_2PI = math.log(2 * math.pi)
NAMES = ["mixture", "mixture-32", "funnel", "banana", "logistic"]
RECORDS = Records(Path(__file__).with_suffix(".jsonl"), key=("target", "backend"))


def mixture(means, weights, scale):
    """The log-density of a mixture of normals with one standard deviation; Z = 1."""
    means = np.asarray(means, "float32")
    constants = np.log(weights) - means.shape[1] * (0.5 * LOG_2PI + math.log(scale))

    def log_density(x):
        squares = ops.sum(ops.square(ops.subtract(x[:, None], means) / scale), axis=-1)
        return ops.logsumexp(ops.add(-0.5 * squares, constants.astype("float32")), axis=-1)

    return log_density


def funnel(x):
    """Neal's funnel (2003): v ~ N(0, 3^2), y given v ~ N(0, e^v); Z = 1."""
    v, y = x[:, 0], x[:, 1]
    return -0.5 * (ops.square(v / 3) + ops.square(y) * ops.exp(-v) + v) - math.log(3) - LOG_2PI


def banana(x):
    """A normal, bent: b given a ~ N(a^2 / 2, 0.5^2); Z = 1."""
    a, b = x[:, 0], x[:, 1]
    return -0.5 * (ops.square(a) + ops.square((b - 0.5 * ops.square(a)) / 0.5)) - LOG_2PI - math.log(0.5)


class Logistic:
    """The posterior of a logistic regression of 569 tumours on 30 measurements, with priors N(0, 1)."""

    def __init__(self):
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        signs = 2.0 * y[:, None] - 1.0
        self.signed = (signs * np.concatenate([x, np.ones((len(x), 1))], axis=1)).astype(
            "float32"
        )  # (569, 31)

    def __call__(self, theta):
        prior = -0.5 * ops.sum(ops.square(theta) + LOG_2PI, axis=-1)
        return prior - ops.sum(ops.softplus(-ops.matmul(theta, self.signed.T)), axis=-1)

    def log_normaliser(self, draws=300_000, freedom=20):
        """Return (log Z, its standard error), by importance weights of a Student-t distribution.

        The first has the curvature of the mode, the second and the third the moments of the weighted draws before.
        """
        from scipy.stats import multivariate_t

        mean, covariance = self._mode()
        for seed, count in enumerate((draws // 5, draws // 5, draws)):
            proposal = multivariate_t(mean, covariance, df=freedom, seed=seed)
            x = proposal.rvs(count)
            log_weights = np.concatenate([self._log_p(part) for part in np.array_split(x, 20)])
            log_weights = log_weights - proposal.logpdf(x)
            weights = np.exp(log_weights - log_weights.max())
            share = weights / weights.sum()
            mean = share @ x
            covariance = (1 - 2 / freedom) * (x - mean).T @ ((x - mean) * share[:, None])
        error = weights.std() / weights.mean() / math.sqrt(count)
        return log_weights.max() + math.log(weights.mean()), error

    def _mode(self):
        """Return the mode and the inverse of its curvature, by Newton's method."""
        rows, theta = self.signed.astype("float64"), np.zeros(self.signed.shape[1])
        for _ in range(50):
            share = 1 / (1 + np.exp(rows @ theta))
            curvature = np.eye(len(theta)) + rows.T @ (rows * (share * (1 - share))[:, None])
            theta = theta - np.linalg.solve(curvature, theta - rows.T @ share)
        return theta, np.linalg.inv(curvature)

    def _log_p(self, x):
        return -0.5 * np.sum(x**2 + LOG_2PI, axis=1) - np.logaddexp(0, -x @ self.signed.T).sum(axis=1)


def target(name):
    """Return (features, log_density, log Z)."""
    if name == "mixture":
        return 2, mixture([(-2.0, -2.0), (2.0, 1.0), (-1.0, 3.0)], [0.3, 0.5, 0.2], 0.5), 0.0
    if name == "mixture-32":
        return 32, mixture([np.full(32, 0.5), np.full(32, -0.5)], [0.6, 0.4], 1.0), 0.0
    if name == "logistic":
        posterior = Logistic()
        return 31, posterior, posterior.log_normaliser()[0]
    return 2, {"funnel": funnel, "banana": banana}[name], 0.0


def start(features, layers=4, hidden=64):
    """Return an untrained flow: couplings whose scale follows the other half, then splines.

    It is e times as wide as its base, so that it meets all modes. Wide tails of the base keep the weights small.
    """
    base, options = flowkit.distributions.StudentT(8.0), {"features": features, "hidden": [hidden, hidden]}
    scales = flowkit.zoo.realnvp(layers=layers, linear="permutation", **options).bijector
    splines = flowkit.zoo.nsf(layers=layers, bound=8.0, **options).bijector
    flow = flowkit.Flow(flowkit.bijectors.Chain([flowkit.bijectors.Scale(-1.0), scales, splines]), base)
    flow.build((None, features))
    return flow


def trained(log_density, features, *, steps, batch, seed, rounds=6, draws=20_000, rate=3e-3, **sizes):
    """Return a flow trained on a density p: by KL(q || p), then by KL(p || q) in rounds.

    Each round draws from the flow, resamples the draws by their weights and moves them by a random walk, so that they
    also go where the flow did not (Gabrié, Rotskoff & Vanden-Eijnden, Adaptive Monte Carlo Augmented with Normalizing
    Flows, 2022).
    """
    keras.utils.set_random_seed(seed)
    flow, size, count = start(features, **sizes), 512, steps // 5
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    flow.compile(keras.optimizers.Adam(schedule), loss=ReverseKL(log_density, anneal=0.5))
    flow.fit(steps_per_epoch=steps, batch_size=batch, verbose=0)
    for number in range(rounds):
        weighted = flowkit.inference_report(flow, log_density, draws=draws, seed=seed + number + 1)
        rows = walked(weighted.resample(draws, seed=number), log_density, np.random.default_rng(number))
        schedule = keras.optimizers.schedules.CosineDecay(2 / 3 * rate, count)
        flow.compile(keras.optimizers.Adam(schedule))
        flow.fit(np.resize(rows, (count * size, features)), batch_size=size, verbose=0)
    return flow


def walked(x, log_density, rng, steps=50):
    """Return rows moved by random-walk Metropolis steps of many lengths, which leave the density as it is."""

    def log_p(x):
        return ops.convert_to_numpy(log_density(ops.convert_to_tensor(x)))

    now, widest = log_p(x), 2.4 / math.sqrt(x.shape[1]) * x.std(axis=0)
    for _ in range(steps):
        lengths = widest * 10 ** rng.uniform(-2, 0, (len(x), 1))
        proposed = (x + lengths * rng.normal(size=x.shape)).astype("float32")
        there = log_p(proposed)
        moves = np.log(rng.random(len(x))) < there - now
        x, now = np.where(moves[:, None], proposed, x), np.where(moves, there, now)
    return x


def measure(name, seed, steps, batch):
    """Return the figures of one target."""
    features, log_density, log_z = target(name)
    start = time.process_time()
    flow = trained(log_density, features, steps=steps, batch=batch, seed=seed)
    seconds = time.process_time() - start
    found = flowkit.inference_report(flow, log_density, draws=20_000, seed=seed)
    return {
        "error": found.log_normaliser - log_z,
        "standard_error": found.standard_error,
        "elbo": found.elbo - log_z,
        "k_hat": found.k_hat,
        "share": found.effective_sample_size / 20_000,
        "trusted": found.trusted,
        "seconds": seconds,
    }


def table():
    """Return the measurements as a table in Markdown: the last of each target on each backend."""
    lines = [
        "| target | backend | error of log Z | stated error | ELBO - log Z | k-hat | effective draws | trusted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        for backend in ("torch", "jax"):
            if row := RECORDS.find(target=name, backend=backend):
                cells = [
                    name,
                    backend,
                    f"{row['error']:+.4f}",
                    f"{row['standard_error']:.4f}",
                    f"{row['elbo']:+.3f}",
                ]
                cells += [f"{row['k_hat']:.2f}", f"{row['share']:.0%}", "yes" if row["trusted"] else "no"]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--targets", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="measure again what was measured")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    for name in () if options.print else options.targets:
        place = {"target": name, "backend": keras.backend.backend()}
        if options.again or RECORDS.find(**place) is None:
            row = measure(name, options.seed, options.steps, options.batch)
            RECORDS.add(**place, seed=options.seed, steps=options.steps, batch=options.batch, **row)
            print(name, row, flush=True)
    print(table())


if __name__ == "__main__":
    main()
