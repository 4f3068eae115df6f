"""Errors of variational inference on five densities whose normaliser is known, beside the errors that reports state.

    KERAS_BACKEND=torch python benchmarks/inference.py            # trains what is not measured yet; prints the table
    KERAS_BACKEND=jax python benchmarks/inference.py --targets banana funnel
    python benchmarks/inference.py --print

One spline flow per target, trained with `ReverseKL`; then `inference_report` with 20,000 draws. Each measurement is a
line of JSON in benchmarks/inference.jsonl. The posterior of the logistic regression needs scikit-learn for its data;
its normaliser comes from 200,000 importance weights of a Student-t distribution around the mode.
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

    def log_normaliser(self, draws=200_000, freedom=10):
        """Return log Z, by importance weights of a Student-t distribution with the curvature of the mode."""
        rows, theta = self.signed.astype("float64"), np.zeros(self.signed.shape[1])
        for _ in range(50):  # Newton's method
            share = 1 / (1 + np.exp(rows @ theta))
            curvature = np.eye(len(theta)) + rows.T @ (rows * (share * (1 - share))[:, None])
            theta = theta - np.linalg.solve(curvature, theta - rows.T @ share)
        from scipy.stats import multivariate_t

        proposal = multivariate_t(theta, np.linalg.inv(curvature), df=freedom, seed=0)
        x = proposal.rvs(draws)
        log_p = -0.5 * np.sum(x**2 + LOG_2PI, axis=1) - np.logaddexp(0, -x @ rows.T).sum(axis=1)
        weights = np.exp(log_p - proposal.logpdf(x) - (largest := np.max(log_p - proposal.logpdf(x))))
        return largest + math.log(weights.mean()), weights.std() / weights.mean() / math.sqrt(draws)


def target(name):
    """Return (features, log_density, log Z, options of `trained`)."""
    if name == "mixture":
        means = [(-2.0, -2.0), (2.0, 1.0), (-1.0, 3.0)]
        return 2, mixture(means, [0.3, 0.5, 0.2], 0.5), 0.0, {"alpha": 0.0, "anneal": 0.5, "spread": 1.0}
    if name == "mixture-32":
        return 32, mixture([np.full(32, 0.5), np.full(32, -0.5)], [0.6, 0.4], 1.0), 0.0, {}
    if name == "logistic":
        posterior = Logistic()
        return 31, posterior, posterior.log_normaliser()[0], {}
    if name == "funnel":
        return 2, funnel, 0.0, {"spread": 1.0, "network": {"bound": 12.0, "bins": 16}}  # as far as v goes
    return 2, banana, 0.0, {"spread": 1.0}


def trained(
    log_density,
    features,
    *,
    steps,
    batch,
    seed,
    layers=4,
    hidden=64,
    rate=3e-3,
    spread=0.0,
    network=None,
    **options,
):
    """Return a spline flow trained on a density: by KL(q || p), then by the importance-weighted bound, which covers p.

    It starts exp(spread) times as wide as its base, so that it meets all modes. Wide tails of the base keep the weights
    small.
    """
    keras.utils.set_random_seed(seed)
    base = flowkit.distributions.StudentT(8.0)
    inner = flowkit.zoo.nsf(
        features=features, layers=layers, hidden=[hidden, hidden], base=base, **network or {}
    )
    wide = flowkit.bijectors.Chain([flowkit.bijectors.Scale(-spread), inner.bijector])
    flow = flowkit.Flow(wide, base)
    flow.build((None, features))
    for share, size, first, loss in (
        (1.0, batch, rate, ReverseKL(log_density, **options)),
        (0.3, 4 * batch, rate / 3, ReverseKL(log_density, alpha=0.0)),
    ):
        count = int(share * steps)
        schedule = keras.optimizers.schedules.CosineDecay(first, count)
        flow.compile(keras.optimizers.Adam(schedule), loss=loss)
        flow.fit(steps_per_epoch=count, batch_size=size, verbose=0)
    return flow


def measure(name, seed, steps, batch):
    """Return the figures of one target."""
    features, log_density, log_z, options = target(name)
    start = time.process_time()
    flow = trained(log_density, features, steps=steps, batch=batch, seed=seed, **options)
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
