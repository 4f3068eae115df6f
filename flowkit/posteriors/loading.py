"""Read the file of a posterior, on any backend, without running code of the file."""

import functools
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.contract import Domain
from flowkit.diagnostics import Finding, Report
from flowkit.diagnostics.finding import plot
from flowkit.flow.saving import PresetError, load_file
from flowkit.posteriors.nle import LikelihoodPosterior
from flowkit.posteriors.npe import Posterior
from flowkit.posteriors.observations import Observations
from flowkit.posteriors.prior import from_columns, of_draws, of_flow
from flowkit.posteriors.saving import ABOUT, FORMAT, PRIOR


def load_posterior(path: str | Path) -> Posterior:
    """Return the posterior that `posterior.save(path)` wrote, on this backend, without its simulator.

    The same seed draws the same as before, but for rounding, also on another backend: see `Posterior.sample`. `check`
    takes new pairs; figures of the saved `report` are not in the file. Nothing in the file is run as code; layers of
    your own must be registered before, as for `keras.saving.load_model`. Raises PresetError, a ValueError, for a file
    that is damaged or of another kind.

    >>> import tempfile, flowkit
    >>> rng = np.random.default_rng(0)
    >>> options = {"simulations": 200, "epochs": 2, "layers": 2, "verbose": 0}
    >>> found = flowkit.posterior(lambda theta: theta + rng.normal(size=theta.shape), {"rate": (0, 1)}, **options)
    >>> path = tempfile.mkdtemp() + "/rate.keras"
    >>> found.save(path)
    >>> again = flowkit.load_posterior(path)
    >>> again.names, bool(np.allclose(again.sample(9, [0.5], seed=0), found.sample(9, [0.5], seed=0), atol=1e-5))
    (('rate',), True)
    """
    path = Path(path)
    flow = load_file(path)
    try:
        with zipfile.ZipFile(path) as file:
            if ABOUT not in file.namelist():
                raise PresetError(
                    f"{path}: got a flow alone, expected a file of posterior.save. Load it by "
                    "keras.saving.load_model."
                )
            return _posterior(flow, file)
    except PresetError:
        raise
    except Exception as error:  # of zipfile, json, numpy and scipy
        why = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        raise PresetError(
            f"{path}: got a damaged file ({why}), expected one of posterior.save. Copy or save it again."
        ) from error


def _posterior(flow, file):
    """Return the posterior of an open file, whose flow was loaded."""
    about = json.loads(file.read(ABOUT))
    if about["posterior"] > FORMAT:
        raise PresetError(
            f"{file.filename}: got a posterior of a newer flowkit, expected format {FORMAT}. Update it."
        )
    theta, x = _array(file, "theta"), _array(file, "x")
    prior = _prior(file, about).named(about["names"])
    if theta.ndim != 2 or len(x) != len(theta) or theta.shape[1] != prior.features:
        raise ValueError(f"pairs of shapes {theta.shape} and {x.shape}")
    sizes = None if about["sizes"] is None else tuple(about["sizes"])
    kind = {"npe": Posterior, "nle": LikelihoodPosterior}[about["method"]]
    found = kind(
        flow,
        prior,
        theta,
        x,
        observation=_array(file, "observation"),
        rounds=about["rounds"],
        data=Observations.of(x, sizes, about["missing"]),
        held=_array(file, "held"),
    )
    found.report = _report(about["report"])
    return found


def _array(file, name):
    """Return an array of a file; None if it does not hold it."""
    if f"{name}.npy" not in file.namelist():
        return None
    with file.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _prior(file, about):
    """Return the prior of a file: a flow, columns of distributions, or draws."""
    if PRIOR in file.namelist():
        with tempfile.TemporaryDirectory() as folder:
            return of_flow(load_file(Path(file.extract(PRIOR, folder))))
    if about["columns"] is not None:
        return from_columns(about["columns"])
    domains = None if about["ends"] is None else [Domain.interval(*ends) for ends in about["ends"]]
    return of_draws(_array(file, "draws"), domains)


def _report(content: dict[str, Any] | None) -> Report | None:
    if content is None:
        return None
    findings = {
        name: Finding(name, *found, functools.partial(_no_figure, name))
        for name, found in content["findings"].items()
    }
    return Report(findings, content["left_out"], content["rows"])


def _no_figure(name):
    """Return a figure that says that the file holds none."""
    figure, axes = plot("", "")
    axes.set_title(f"{name}: no figure in the file. Run check again.", fontsize=8)
    return figure
