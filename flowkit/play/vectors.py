"""Write the page of a flow of vectors: its graphs, rows of a table, and latents that the page decodes."""

import json
from pathlib import Path

import numpy as np

from flowkit.contract import Tensor
from flowkit.flow import Flow, TableFlow
from flowkit.flow.context import context_kind
from flowkit.flow.sampling import latents
from flowkit.play.graphs import write_files, write_graphs

SHOWN = 1000  # rows, and draws


def is_of_vectors(flow: Flow) -> bool:
    """Return True for a flow of vectors of real numbers."""
    return len(flow.event_shape or ()) == 1 and flow.dequantize is None


def refuse_vectors(flow: Flow, test: Tensor) -> None:
    """Raise ValueError for a flow of vectors that the page cannot show, and for data that are no table."""
    if isinstance(flow, TableFlow):
        raise ValueError(
            "the page expects a flow of real columns, received one of a mixed table. Draw pairs of its columns with "
            "flow.plot()."
        )
    if context_kind(flow) == "required":
        raise ValueError("the page expects a flow of vectors that reads no context.")
    size, shape = flow.event_shape[0], getattr(getattr(test, "values", None), "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != size or not shape[0]:
        received = type(test).__name__ if shape is None else f"one of shape {tuple(shape)}"
        raise ValueError(
            f"the page of this flow expects a table of {size} columns as test, received {received}."
        )


def write_vectors(flow: Flow, folder: Path, test: Tensor, name: str) -> None:
    """Write the graphs, the rows and latents that are shown, their description and the page into `folder`."""
    sums, scores = write_graphs(flow, folder, None)
    picked = np.random.default_rng(0).permutation(len(test.values))[:SHOWN]
    rows = test.values[picked].astype("float32")
    drawn = latents(flow, SHOWN, None, 1.0, 0)
    rows.astype("<f4").tofile(folder / "rows.bin")
    drawn.astype("<f4").tofile(folder / "latents.bin")
    names = test.names or [f"column {number + 1}" for number in range(rows.shape[1])]
    meta = {
        "name": name,
        "event": list(flow.event_shape),
        "latents": list(drawn.shape[1:]),
        "columns": [str(one) for one in names],
        "rows": len(rows),
        "draws": len(drawn),
        "exact": flow.exact,
        "log_prob": np.sort(flow.log_prob(rows)).round(2).tolist() if scores else [],
        "classes": [],
        "sha256": sums,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    write_files(folder, "vectors.html", ("vectors.js", "flow.js", "pictures.js", "style.css"))
