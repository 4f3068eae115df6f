"""Write what all pages share: the two graphs of a flow, and files of the page that are the same for each flow."""

import hashlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from flowkit.flow import Flow


def write_graphs(flow: Flow, folder: Path, context: Any) -> tuple[dict[str, str], bool]:
    """Write decode.onnx and encode.onnx: ({name: SHA-256}, True if the second also returns log p).

    It does unless log p is an estimate with noise. `context` is that of some rows, or None.
    """
    sums: dict[str, str] = {}
    scores = flow.bijector.spec.likelihood != "estimated"
    for graph, what in (("decode", "decode"), ("encode", "encode_and_log_prob" if scores else "encode")):
        path = folder / f"{graph}.onnx"
        flow.export(path, what, context=context)
        sums[graph] = hashlib.sha256(path.read_bytes()).hexdigest()
    return sums, scores


def write_files(folder: Path, index: str, names: Iterable[str]) -> None:
    """Copy files of the page by name, and the file `index` as index.html."""
    page = resources.files("flowkit.play").joinpath("page")
    (folder / "index.html").write_bytes(page.joinpath(index).read_bytes())
    for name in names:
        (folder / name).write_bytes(page.joinpath(name).read_bytes())
