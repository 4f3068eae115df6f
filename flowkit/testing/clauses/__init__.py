"""The promises of a bijector, one function each. Importing this fills `flowkit.testing.clause.CLAUSES`."""

from flowkit.testing.clauses import (  # isort: skip  (the order is that of the report)
    shapes,
    round_trip,
    image,
    log_det,
    finite,
    gradients,
    batch,
    purity,
    context,
    adaptation,
    saving,
    compiled,
    precision,
    errors,
)

__all__ = [
    "adaptation",
    "batch",
    "compiled",
    "context",
    "errors",
    "finite",
    "gradients",
    "image",
    "log_det",
    "precision",
    "purity",
    "round_trip",
    "saving",
    "shapes",
]
