"""Simulators whose posteriors can be drawn exactly: prior, simulator, and draws of the posterior of an observation.

Two moons, SLCP and the Gaussian linear task are those of Lueckmann et al., Benchmarking Simulation-Based Inference
(2021); the line is that of docs/posteriors.md.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

_MANY = 400_000  # draws of the prior of which SLCP's posterior is resampled


@dataclass(frozen=True)
class Task:
    """A task in words, its prior as (low, high) for each parameter or the deviations of a normal, and functions."""

    words: str
    simulator: Any  # (theta, rng) -> x
    reference: Any  # (x, n, rng) -> exact draws of the posterior
    box: Any = None
    deviation: Any = None

    def draw(self, n, rng):
        if self.box is not None:
            return rng.uniform(*np.array(self.box).T, (n, len(self.box)))
        return self.deviation * rng.normal(size=(n, len(self.deviation)))

    def pairs(self, n, rng):
        theta = self.draw(n, rng)
        return theta.astype("float32"), self.simulator(theta, rng).astype("float32")


# The line: normal, 2 parameters, 20 measurements

_DESIGN = np.stack([np.ones(20), np.linspace(-1, 1, 20)], axis=1)
_OF_LINE = np.linalg.inv(np.eye(2) + _DESIGN.T @ _DESIGN / 0.5**2)


def _line(theta, rng):
    return theta @ _DESIGN.T + 0.5 * rng.normal(size=(len(theta), 20))


def _line_reference(x, n, rng):
    return x @ _DESIGN @ _OF_LINE / 0.5**2 + rng.normal(size=(n, 2)) @ np.linalg.cholesky(_OF_LINE).T


# Gaussian linear: normal, as many data as parameters


def _linear(theta, rng):
    return theta + np.sqrt(0.1) * rng.normal(size=theta.shape)


def _linear_reference(x, n, rng):
    return x / 2 + np.sqrt(0.05) * rng.normal(size=(n, x.size))


# Two moons: two crescents, 2 parameters


def _crescent(n, rng):
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)


def _moons(theta, rng):
    shift = np.stack([-np.abs(theta.sum(axis=1)), theta[:, 1] - theta[:, 0]], axis=1)
    return _crescent(len(theta), rng) + shift / np.sqrt(2)


def _moons_reference(x, n, rng):
    """x = p + (-|a|, b) / sqrt 2 with a = t1 + t2, b = t2 - t1: draw p and the sign of a, keep those in the box."""
    found = np.empty((0, 2))
    while len(found) < n:
        away = np.sqrt(2) * (x - _crescent(4 * n, rng))
        size, b = -away[:, 0], away[:, 1]
        a = size * rng.choice([-1, 1], 4 * n)
        theta = np.stack([a - b, a + b], axis=1) / 2
        found = np.concatenate([found, theta[(size > 0) & (np.abs(theta) < 1).all(axis=1)]])
    return found[:n]


# SLCP: a simple likelihood, a complex posterior, 5 parameters


def _slcp(theta, rng):
    first, second, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, np.tanh(theta[:, 4])
    e = rng.normal(size=(len(theta), 4, 2))
    x = theta[:, None, 0] + first[:, None] * e[..., 0]
    across = rho[:, None] * e[..., 0] + np.sqrt(1 - rho**2)[:, None] * e[..., 1]
    return np.stack([x, theta[:, None, 1] + second[:, None] * across], axis=-1).reshape(len(theta), 8)


def _slcp_reference(x, n, rng):
    """Draw the three parameters of the covariance by importance, then the mean, normal given them, within its box."""
    points = x.reshape(4, 2)
    mean, away = points.mean(axis=0), points - points.mean(axis=0)
    scatter = away.T @ away
    found = np.empty((0, 5))
    while len(found) < n:
        # More near 0, where the data may fix the two scales to a small part of the box.
        size = 3 * rng.uniform(size=(_MANY, 2)) ** 3
        shape = np.column_stack([size * rng.choice([-1, 1], size.shape), rng.uniform(-3, 3, _MANY)])
        first, second, rho = shape[:, 0] ** 2, shape[:, 1] ** 2, np.tanh(shape[:, 2])
        rest = 1 - rho**2
        square = (
            scatter[0, 0] / first**2 + scatter[1, 1] / second**2 - 2 * rho * scatter[0, 1] / (first * second)
        ) / rest
        # Four points, of which one is spent on their mean.
        log_weight = -3 * (np.log(first * second) + 0.5 * np.log(rest)) - 0.5 * square
        log_weight += 2 / 3 * np.log(size).sum(axis=1)
        weight = np.exp(log_weight - log_weight.max())
        rows = rng.choice(_MANY, 4 * n, p=weight / weight.sum())
        e = rng.normal(size=(4 * n, 2)) / 2
        one = mean[0] + first[rows] * e[:, 0]
        two = mean[1] + second[rows] * (rho[rows] * e[:, 0] + np.sqrt(rest[rows]) * e[:, 1])
        theta = np.concatenate([np.stack([one, two], axis=1), shape[rows]], axis=1)
        found = np.concatenate([found, theta[(np.abs(theta) < 3).all(axis=1)]])
    return found[:n]


def _linear_task(features):
    words = f"Gaussian linear, {features} parameters"
    return Task(words, _linear, _linear_reference, deviation=np.full(features, np.sqrt(0.1)))


TASKS = {
    "line": Task("the line", _line, _line_reference, deviation=np.ones(2)),
    "linear2": _linear_task(2),
    "linear5": _linear_task(5),
    "linear": _linear_task(10),
    "linear20": _linear_task(20),
    "moons": Task("two moons", _moons, _moons_reference, box=[(-1, 1)] * 2),
    "slcp": Task("SLCP", _slcp, _slcp_reference, box=[(-3, 3)] * 5),
}
