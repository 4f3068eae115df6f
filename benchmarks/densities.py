"""Errors of `flowkit.sample_density` on densities whose normaliser is known, in units of the errors that it states.

    KERAS_BACKEND=torch python benchmarks/densities.py            # measures what is not measured yet; prints the table
    python benchmarks/densities.py --targets banana --seeds 3
    python benchmarks/densities.py --print

One call for each target and seed, with a budget of 200,000 rows and no prior. Each measurement is a line of JSON in
benchmarks/densities.jsonl. "hierarchy" is a model with a scale and 30 parameters of that scale, each observed once; its
normaliser is an integral over the scale alone. With dynesty installed, `--dynesty` adds its columns.
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
from measuring.records import Records
from scipy import integrate, stats
from scipy.special import logsumexp

LOG_2PI = math.log(2 * math.pi)
RECORDS = Records(Path(__file__).with_suffix(".jsonl"), key=("target", "backend", "seed"))
OBSERVED = 1.5 * np.random.default_rng(3).normal(size=30)
SIGNS = np.array([np.ones(16), -np.ones(16), np.tile([1.0, -1.0], 8)])


def mixture(means, weights, scale):
    """The log-density of a mixture of normals with one standard deviation; Z = 1."""
    means = np.asarray(means)
    constants = np.log(weights) - means.shape[1] * (0.5 * LOG_2PI + math.log(scale))

    def log_density(x):
        squares = np.square((x[:, None] - means) / scale).sum(axis=2)
        return logsumexp(constants - 0.5 * squares, axis=1)

    return log_density


def funnel(x):
    """Neal's funnel (2003): v ~ N(0, 3^2), y given v ~ N(0, e^v); Z = 1."""
    v, y = x.T
    return -0.5 * ((v / 3) ** 2 + y**2 * np.exp(-v) + v) - math.log(3) - LOG_2PI


def banana(x):
    """A normal, bent: b given a ~ N(a^2 / 2, 0.5^2); Z = 1."""
    a, b = x.T
    return -0.5 * (a**2 + ((b - 0.5 * a**2) / 0.5) ** 2) - LOG_2PI - math.log(0.5)


def hierarchy(x):
    """v ~ N(0, 1), t_i given v ~ N(0, e^v), and observations y_i ~ N(t_i, 1), for i from 1 to 30."""
    v, t = x[:, :1], x[:, 1:]
    log_prior = -0.5 * (v[:, 0] ** 2 + LOG_2PI) - 0.5 * (t**2 * np.exp(-v) + v + LOG_2PI).sum(axis=1)
    return log_prior - 0.5 * (np.square(OBSERVED - t) + LOG_2PI).sum(axis=1)


def evidence_of_hierarchy():
    """Return log Z: y_i given v ~ N(0, e^v + 1)."""

    def log_p(v):
        variance = math.exp(v) + 1
        return -0.5 * (v * v + LOG_2PI + (OBSERVED**2 / variance + math.log(variance) + LOG_2PI).sum())

    most = max(map(log_p, np.linspace(-8, 8, 200)))
    return most + math.log(integrate.quad(lambda v: math.exp(log_p(v) - most), -10, 10)[0])


TARGETS = {
    "mixture": (2, mixture([(-2.0, -2.0), (2.0, 1.0), (-1.0, 3.0)], [0.3, 0.5, 0.2], 0.5), 0.0),
    "funnel": (2, funnel, 0.0),
    "banana": (2, banana, 0.0),
    "mixture-16": (16, mixture(1.5 * SIGNS, [0.5, 0.3, 0.2], 1.0), 0.0),
    "mixture-32": (32, mixture([np.full(32, 0.5), np.full(32, -0.5)], [0.6, 0.4], 1.0), 0.0),
    "hierarchy": (31, hierarchy, evidence_of_hierarchy()),
}


def measure(name, seed):
    """Return the figures of one target and seed."""
    features, log_density, log_z = TARGETS[name]
    start = time.process_time()
    found = flowkit.sample_density(log_density, features, seed=seed, verbose=0)
    return {
        "error": found.log_z - log_z,
        "stated": found.log_z_error,
        "trusted": found.trusted,
        "doubts": found.doubts,
        "k_hat": found.report.k_hat,
        "effective": found.report.effective_sample_size,
        "calls": found.calls,
        "seconds": time.process_time() - start,
    }


def by_dynesty(name, seed):
    """Return the figures of dynesty's nested sampling, from first draws as wide as flowkit's, with as many calls."""
    import dynesty

    features, log_density, log_z = TARGETS[name]
    start, first = time.process_time(), stats.t(5, scale=3)
    sampler = dynesty.NestedSampler(
        lambda x: log_density(x[None])[0] - first.logpdf(x).sum(),
        first.ppf,
        features,
        rstate=np.random.default_rng(seed),
    )
    sampler.run_nested(print_progress=False, maxcall=200_000)
    found, calls = sampler.results, int(np.sum(sampler.results.ncall))
    return {
        "error": found.logz[-1] - log_z,
        "stated": found.logzerr[-1],
        "trusted": calls < 200_000,  # otherwise it was stopped before its end
        "effective": float(1 / np.square(found.importance_weights()).sum()),
        "calls": calls,
        "seconds": time.process_time() - start,
    }


def table():
    """Return the measurements as a table in Markdown."""
    lines = [
        "| target | seed | error of log Z | stated error | in stated errors | trusted | effective draws per 1,000 "
        "calls | calls | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in [*TARGETS, *(f"{name}, dynesty" for name in TARGETS)]:
        for seed in range(10):
            row = RECORDS.find(target=name, backend=keras.backend.backend(), seed=seed)
            if row is not None:
                cells = [name, str(seed), f"{row['error']:+.4f}", f"{row['stated']:.4f}"]
                units = f"{abs(row['error']) / row['stated']:.1f}" if math.isfinite(row["stated"]) else "-"
                cells += [units, "yes" if row["trusted"] else "no"]
                cells += [f"{1000 * row['effective'] / row['calls']:.0f}", f"{row['calls']:,}"]
                lines.append(f"| {' | '.join(cells)} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="measure again what was measured")
    parser.add_argument("--dynesty", action="store_true")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    for seed in range(0 if options.print else options.seeds):
        for name in options.targets:
            for title, run in (
                (name, measure),
                *([(f"{name}, dynesty", by_dynesty)] if options.dynesty else []),
            ):
                place = {"target": title, "backend": keras.backend.backend(), "seed": seed}
                if options.again or RECORDS.find(**place) is None:
                    RECORDS.add(**place, **run(name, seed))
                    print(title, seed, RECORDS.find(**place), flush=True)
    print(table())


if __name__ == "__main__":
    main()
