"""flowkit: normalizing flows as Keras 3 layers, on JAX, PyTorch and TensorFlow.

Importing flowkit imports no backend: names are looked up at first use (PEP 562). It does choose the backend, because
Keras reads `KERAS_BACKEND` once, on its first import.
"""

import importlib

from flowkit._engine import choose_engine, require_engine
from flowkit._registration import register_with_keras

__version__ = "0.1.0"

_ROOMS = (
    *(
        "bijectors",
        "bridges",
        "conditioners",
        "convert",
        "data",
        "densities",
        "diagnostics",
        "distributed",
        "distributions",
    ),
    *("engines", "evaluation", "latent", "numerics", "objectives", "play", "posteriors", "presets"),
    *("surjections", "tables", "testing", "training", "transforms", "zoo"),
)
# public name -> the module that defines it (None: the name is itself a submodule)
_PUBLIC = {
    "Bijector": "flowkit.contract",
    "BijectorSpec": "flowkit.contract",
    "Conditioner": "flowkit.contract",
    "ContractError": "flowkit.contract",
    "Domain": "flowkit.contract",
    "Surjection": "flowkit.contract",
    "Flow": "flowkit.flow",
    "TableFlow": "flowkit.tables",
    "fit_table": "flowkit.tables",
    "load_posterior": "flowkit.posteriors",
    "posterior": "flowkit.posteriors",
    "LabelledFlow": "flowkit.zoo",
    "PresetError": "flowkit.presets",
    "upload_preset": "flowkit.presets",
    "inference_report": "flowkit.diagnostics",
    "evidence": "flowkit.densities",
    "sample_density": "flowkit.densities",
    **dict.fromkeys(_ROOMS),
}

__all__ = sorted(_PUBLIC)

choose_engine()
register_with_keras()


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'flowkit' has no attribute {name!r}")
    require_engine()
    importlib.import_module("keras")  # before any module of ours: see flowkit/_registration.py
    home = _PUBLIC[name]
    if home is None:
        return importlib.import_module(f"flowkit.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__():
    return sorted({*globals(), *_PUBLIC})
