"""`flowkit info`: what a bug report needs; of a preset, what its metadata tells."""

import platform
from importlib.metadata import PackageNotFoundError, version

import keras

import flowkit
from flowkit import backends, presets


def run(preset):
    told = facts() if preset is None else _told(presets.read_preset(presets.find_preset(preset)))
    width = max(10, *map(len, told))
    for name, value in told.items():
        print(f"{name:{width}} {value}")


def _told(preset):
    """What metadata.json says of a preset, in the order of the file."""
    known = preset.metadata
    data = known.get("data") or {}
    return {
        "preset": preset.folder,
        "event": " x ".join(map(str, known.get("event_shape") or ())),
        **({"classes": known["num_classes"]} if known.get("num_classes") else {}),
        "parameters": f"{known.get('parameters', 0):,}",
        "data": f"{data.get('name', 'not told')} {data.get('sha256') or ''}".strip(),
        **{name: value for name, value in preset.measured.items() if value is not None},
        "written by": ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items()),
        "license": known.get("license", "not told"),
    }


def facts():
    """What there is, as text: versions, engine, devices, precision."""
    return {
        "flowkit": flowkit.__version__,
        "engine": f"{backends.name()} {backends.version()}",
        "devices": ", ".join(backends.devices()),
        "precision": keras.config.dtype_policy().name,
        "keras": keras.__version__,
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
