"""The file of a posterior: the .keras file of its flow, with members for all that is not the flow."""

import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.training.atomic import add_arrays, atomic_path

if TYPE_CHECKING:
    from flowkit.posteriors.npe import Posterior

FORMAT = 1
ABOUT, PRIOR = "posterior.json", "prior.keras"
_KEPT = 10_000  # draws that stand for a prior that no file can hold


def save(posterior: "Posterior", path: str | Path) -> None:
    """Write a posterior: see `Posterior.save`."""
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"posterior.save: got {str(path)!r}, expected a path that ends in .keras.")
    prior, data = posterior.prior, posterior.data
    arrays = {"theta": posterior.theta, "x": posterior.x}
    if posterior.held is not None:
        arrays["held"] = posterior.held
    if posterior.observation is not None:
        rows, one = data.rows(posterior.observation)
        arrays["observation"] = rows[0] if one else rows
    if prior.flow is None and prior.columns is None:
        if posterior.method == "nle":
            raise ValueError(
                "posterior.save: got method='nle' and a prior of your own, expected one that a file can hold: bounds, "
                "distributions of scipy.stats, a Distribution or a Flow. Save posterior.flow, the likelihood."
            )
        arrays["draws"] = prior.draw(_KEPT, np.random.default_rng(0))
    about = {
        "posterior": FORMAT,
        "method": posterior.method,
        "rounds": posterior.rounds,
        "sizes": data.sizes,
        "missing": "drop" if data.gaps is None else "model",
        "names": prior.names,
        "columns": prior.columns,
        "ends": None if prior.domains is None else [(d.low, d.high) for d in prior.domains],
        "report": _findings(posterior.report),
    }
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as folder:
        posterior.flow.save(temporary)
        with zipfile.ZipFile(temporary, "a") as file:  # stored as they are, as Keras does
            add_arrays(file, arrays)
            if prior.flow is not None:
                prior.flow.save(Path(folder, PRIOR))
                file.write(Path(folder, PRIOR), PRIOR)
            file.writestr(ABOUT, json.dumps(about))


def _findings(report) -> dict[str, Any] | None:
    """Return what JSON holds of a report: all but its figures."""
    if report is None:
        return None
    findings = {name: [one.sentence, one.numbers, one.passed] for name, one in report.findings.items()}
    return {"rows": report.rows, "left_out": report.left_out, "findings": findings}
