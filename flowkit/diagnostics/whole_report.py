"""All diagnostics of a flow and its test data, in one call."""

import html
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowkit.contract import Context, Tensor
from flowkit.diagnostics.draws import LEVEL, calibration, coverage, most_entries, recovery, tarp
from flowkit.diagnostics.finding import Finding
from flowkit.diagnostics.latents import level_shares, normality, round_trip
from flowkit.diagnostics.memorisation import memorisation
from flowkit.diagnostics.outliers import outliers
from flowkit.diagnostics.verdict import no_verdict, verdict
from flowkit.evaluation import check_scored_by_level
from flowkit.flow import Flow, inputs
from flowkit.training.atomic import atomic_path, json_text
from flowkit.training.pictures import save_figure

_MANY = 1_000  # rows: a share of them is known to within 0.03


@dataclass(repr=False, eq=False)
class Report:
    """The findings of all diagnostics of a flow.

    - `findings`: name -> `Finding`.
    - `left_out`: name of a diagnostic that does not apply -> why.
    - `numbers`, `figures`: name -> those of its finding.
    - `rows`: the number of rows of data, or None.

    >>> from matplotlib.figure import Figure
    >>> found = Finding("round_trip", "All rows come back.", {"worst": 1e-6}, True, Figure)
    >>> Report({"round_trip": found}, {"levels": "the flow has no levels"}, rows=1000)
    Report(round_trip='as expected')
    """

    findings: dict[str, Finding]
    left_out: dict[str, str]
    rows: int | None = None

    @property
    def numbers(self) -> dict[str, Any]:
        """Return name -> numbers, with `passed` among them."""
        return {name: {"passed": one.passed, **one.numbers} for name, one in self.findings.items()}

    @property
    def figures(self) -> dict[str, Any]:
        """Return name -> matplotlib `Figure`."""
        return {name: one.figure for name, one in self.findings.items()}

    def save(self, folder: str | Path) -> Path:
        """Write `NAME.png` for each finding, and `diagnostics.json`, into `folder`, which is made if it is missing.

        A number that is not finite becomes null: JSON has no NaN.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, one in self.findings.items():
            save_figure(folder / f"{name}.png", one.figure)
        content = {
            "rows": self.rows,
            "findings": {
                name: {"sentence": self.findings[name].sentence, **n} for name, n in self.numbers.items()
            },
            "left_out": self.left_out,
        }
        with atomic_path(folder / "diagnostics.json") as temporary:
            temporary.write_text(json_text(content) + "\n", encoding="utf-8")
        return folder

    def __str__(self):
        lines = [f"{name} ({one.verdict}): {one.sentence}" for name, one in self.findings.items()]
        lines += [f"{name} (left out): {why}" for name, why in self.left_out.items()]
        return "\n".join([*lines, *self._caution()])

    def _caution(self):
        """Warn of few rows: twice the standard error of a share of them is at most 1 / sqrt(rows)."""
        if self.rows is None or self.rows >= _MANY:
            return []
        return [
            f"{self.rows} rows are few: they tell a share to within {self.rows**-0.5:.2f}, so what is as expected may "
            f"be off by as much. Give {_MANY:,} or more."
        ]

    def __repr__(self):
        verdicts = ", ".join(f"{name}={one.verdict!r}" for name, one in self.findings.items())
        return f"Report({verdicts})"

    def _repr_html_(self):
        left = "".join(
            f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in self.left_out.items()
        )
        return "".join(
            [
                *(one._repr_html_() for one in self.findings.values()),
                f"<h4>left out</h4><ul>{left}</ul>" if left else "",
                *(f"<p>{text}</p>" for text in self._caution()),
            ]
        )


def report(
    flow: Flow,
    x: Tensor,
    context: Context = None,
    *,
    train: Tensor | None = None,
    train_context: Context = None,
    outside: Tensor | None = None,
    outside_context: Context = None,
    background: Flow | None = None,
    samples: int = 2_000,
    draws: int = 99,
    batch_size: int | None = None,
    seed: int = 0,
) -> Report:
    """Run all diagnostics of a flow that apply, on `x`, rows that it was not trained on.

    - `context`: that of `x`, for a conditional flow.
    - `train`, with its context: the rows trained on, for `verdict` and `memorisation`; they are only compared with.
    - `outside`, with its context: data of another kind, for `outliers`; `background`: a flow to compare with there.
    - `samples`: the number drawn for `coverage` and `memorisation`; `draws`: for each row of a conditional flow.

    `left_out` of the `Report` has the others, with the reason. Each diagnostic is a function of its own,
    with more options, and its docstring explains it.

    >>> import numpy as np
    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 2))
    >>> x, train = np.random.default_rng(0).normal(size=(2, 500, 2))
    >>> found = report(flow, x, train=train)
    >>> list(found.findings)
    ['verdict', 'normality', 'coverage', 'round_trip', 'memorisation']
    >>> sorted(found.left_out)
    ['calibration', 'levels', 'outliers', 'recovery', 'tarp']
    """
    inputs.checked_data(flow, x, context)  # before any work
    how: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
    runs = {
        "verdict": lambda: verdict(flow, x, context, train=train, train_context=train_context, **how),
        "normality": lambda: normality(flow, x, context, **how),
        "coverage": lambda: coverage(flow, x, context, samples=samples, draws=draws, **how),
        "calibration": lambda: calibration(flow, x, context, draws=draws, **how),
        "tarp": lambda: tarp(flow, x, context, draws=draws, **how),
        "recovery": lambda: recovery(flow, x, context, draws=draws, **how),
        "levels": lambda: level_shares(flow, x, context, **how),
        "round_trip": lambda: round_trip(flow, x, context, batch_size=batch_size),
        "memorisation": lambda: memorisation(flow, x, train, context, samples=samples, **how),
        "outliers": lambda: outliers(
            flow, x, outside, context, outside_context=outside_context, background=background, **how
        ),
    }
    left_out = _left_out(flow, x, context, train, outside)
    return Report({name: run() for name, run in runs.items() if name not in left_out}, left_out, len(x))


def _left_out(flow, x, context, train, outside):
    """Return name -> reason of the diagnostics that do not apply."""
    reasons, entries = {}, math.prod(flow.event_shape)
    if reason := no_verdict(flow, x, context):
        reasons["verdict"] = f"got {reason}".removesuffix(".")
    if entries > most_entries(LEVEL):
        reasons["calibration"] = (
            f"of {entries} entries none could fail a test of so many: flowkit.evaluation.ranks has their ranks"
        )
    if len(flow.event_shape) != 1:
        reasons["recovery"] = "of images each pixel would be an entry"
    if context is None:
        reasons |= dict.fromkeys(("calibration", "tarp", "recovery"), "the call has no context")
    try:
        check_scored_by_level(flow, "levels")
    except ValueError as error:
        reasons["levels"] = str(error).removeprefix("levels: ").removesuffix(".")
    if flow.bijector.spec.inverse == "none":
        for name in ("coverage", "calibration", "tarp", "recovery", "round_trip", "memorisation"):
            reasons[name] = "the flow has no inverse, so it draws no samples"
    elif flow.bijector.is_lossy(inverse=False):
        reasons["round_trip"] = "the flow forgets a part of the data, which comes back drawn anew"
    if train is None:
        reasons.setdefault("memorisation", "train= was not given: the rows that the flow was trained on")
    if outside is None:
        reasons["outliers"] = "outside= was not given: data of another kind"
    return reasons
