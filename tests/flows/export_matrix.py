"""The table of docs/export.md: which functions of which family are written, and small flows to write."""

import re
from pathlib import Path

import keras
import numpy as np

from flowkit import zoo
from flowkit.engines import engine

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
WHAT = ("decode", "encode", "log_prob")
_ROW = re.compile(r"^\| `(\w+)` \| ([\w, *]+) \| ([\w, *]+) \|$", re.MULTILINE)
_MORE = {
    "nsf": {"bins": 2},
    "nsf_autoregressive": {"bins": 2},
    "naf": {"units": 2},
    # Of two units log p changes by 1e-5 with an input's rounding.
    "bnaf": {"units": 3, "features": 3, "layers": 2},
    "umnn": {"units": 2, "nodes": 5},
    "bernstein": {"degree": 3},
    "sos": {"terms": 1, "degree": 1},
    "gaussianization": {"components": 2},
    "residual": {"lipschitz": 0.5},
    "circular_nsf": {"bins": 2},
    "flow_matching": {"steps": 2},
    "ffjord": {"steps": 2},
}
_IMAGES = {
    "glow": {"levels": 2, "steps": 1, "width": 4, "min_scale": 0.5},
    "flow_pp": {"width": 4, "mixtures": 2, "blocks": 1, "couplings": (1, 1, 1), "dequantize": "uniform"},
    "maf_images": {"width": 4, "depth": 1, "reach": 2, "mixtures": 2},
    "realnvp_images": {"levels": 1, "width": 4, "blocks": 1},
    "jet": {"depth": 1, "width": 8, "patch": 2},
    "tarflow": {"blocks": 1, "depth": 1, "width": 8, "patch": 2},
}


def table():
    """{engine: {family: {what the page says is written: whether that takes minutes}}}."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))

    def cell(text):
        named = [] if text == "none" else text.split(", ")
        return {name.strip("*"): name.startswith("*") for name in named}

    return {
        engine: {family: cell(cells[column]) for family, *cells in rows}
        for column, engine in enumerate(("torch", "jax"))
    }


def written(family, slow):
    """What the page says of this engine: that which takes minutes, or that which does not."""
    named = table().get(engine.name, {}).get(family, {})
    return [what for what, takes_minutes in named.items() if takes_minutes is slow]


def small(family, perturb):
    """A small flow of a family, off its start."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    if family in _IMAGES:
        flow = zoo.ARCHITECTURES[family](input_shape=(4, 4, 1), **_IMAGES[family])
        return perturb(flow.adapt(rng.integers(0, 256, (64, 4, 4, 1), dtype="uint8")))
    depth = {} if family == "flow_matching" else {"layers": 1}
    options = {"features": 2, "hidden": [4], **depth, **_MORE.get(family, {})}
    return perturb(
        zoo.ARCHITECTURES[family](**options).adapt(
            rng.normal(size=(64, options["features"])).astype("float32")
        )
    )
