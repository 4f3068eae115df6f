"""Diagnostics of a flow: functions that return a `Finding`; `report` runs all that apply to data."""

from flowkit.diagnostics.draws import calibration, coverage, recovery, tarp
from flowkit.diagnostics.finding import Finding, holm
from flowkit.diagnostics.inference import InferenceReport, inference_report
from flowkit.diagnostics.latents import level_shares, normality, round_trip
from flowkit.diagnostics.memorisation import memorisation
from flowkit.diagnostics.outliers import likelihood_ratio, outliers, typicality
from flowkit.diagnostics.verdict import verdict
from flowkit.diagnostics.whole_report import Report, report

__all__ = [
    "Finding",
    "InferenceReport",
    "Report",
    "calibration",
    "coverage",
    "holm",
    "inference_report",
    "level_shares",
    "likelihood_ratio",
    "memorisation",
    "normality",
    "outliers",
    "recovery",
    "report",
    "round_trip",
    "tarp",
    "typicality",
    "verdict",
]
