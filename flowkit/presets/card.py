"""README.md of a preset: a model card in the form of Hugging Face's hub, every number of which is in metadata.json."""

import json
from collections.abc import Mapping
from typing import Any

# What is measured -> how the card calls it, and how many digits it has there.
NUMBERS = {
    "test_bits_per_dim": ("test bits/dim", 4),
    "test_log_prob": ("test log-likelihood, nats", 4),
    "test_label_error": ("share of test labels missed", 4),
    "validation_bits_per_dim": ("validation bits/dim", 4),
    "validation_log_prob": ("validation log-likelihood, nats", 4),
    "train_bits_per_dim": ("train bits/dim", 4),
    "train_log_prob": ("train log-likelihood, nats", 4),
    "test_images": ("test images", 0),
    "validation_images": ("validation images", 0),
    "train_images": ("train images", 0),
    "test_rows": ("test rows", 0),
    "validation_rows": ("validation rows", 0),
    "train_rows": ("train rows", 0),
    "epochs": ("epochs", 0),
    "kept_epoch": ("epoch that is kept, the best on the validation split", 0),
    "seconds": ("seconds of training", 0),
    "images_per_second": ("images per second", 1),
    "rows_per_second": ("rows per second", 1),
}
_TESTED = {"test_bits_per_dim": "bits_per_dim", "test_log_prob": "log_likelihood"}


def card(metadata: Mapping[str, Any]) -> str:
    """Return the text of README.md, from the content of metadata.json alone.

    >>> text = card({"name": "digits", "files": {}, "versions": {"flowkit": "0.1.0", "keras": "3.15.1"}})
    >>> text.splitlines()[1]
    'library_name: "flowkit"'
    """
    measured = metadata.get("measured") or {}
    parts = [f"---\n{_header(metadata, measured)}---", f"# {metadata['name']}"]
    if metadata.get("description"):
        parts.append(metadata["description"])
    parts.append(_made_of(metadata))
    if "samples.png" in metadata["files"]:
        parts.append("![Samples](samples.png)")
    parts.append(_usage(metadata))
    if rows := _rows(measured):
        parts.append("## Measured\n\n| | |\n|---|---|\n" + "\n".join(rows) + _where(measured))
    parts.append(_origin(metadata))
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(metadata, measured):
    """Return the header in YAML, which includes JSON: a line for each key."""
    keys: dict[str, Any] = {
        "library_name": "flowkit",
        "tags": ["normalizing-flow", "density-estimation", "keras"],
    }
    if metadata.get("license"):
        keys = {"license": metadata["license"], **keys}
    data = (metadata.get("data") or {}).get("name")
    results = [
        {"type": kind, "name": NUMBERS[key][0], "value": round(measured[key], NUMBERS[key][1])}
        for key, kind in _TESTED.items()
        if measured.get(key) is not None
    ]
    if results and data:
        task = "unconditional-image-generation" if "test_bits_per_dim" in measured else "other"
        result = {
            "task": {"type": task, "name": "Density estimation"},
            "dataset": {"type": data, "name": data},
            "metrics": results,
        }
        keys["model-index"] = [{"name": metadata["name"], "results": [result]}]
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in keys.items())


def _made_of(metadata):
    said = f"A normalizing flow of {' x '.join(map(str, metadata.get('event_shape', ())))} entries"
    if metadata.get("num_classes"):
        said += f", given one of {metadata['num_classes']} classes"
    return f"{said}: {metadata['parameters']:,} parameters." if "parameters" in metadata else ""


def _usage(metadata):
    context = ", context" if metadata.get("num_classes") else ""
    return f"""```python
import flowkit  # KERAS_BACKEND is jax, torch or tensorflow

flow = flowkit.Flow.from_preset("path/of/this/folder")  # or hf://user/name
flow.sample(16{context}, seed=0)
flow.log_prob(x{context})  # nats
```

No file here runs code. `metadata.json` has the SHA-256 of each, which `from_preset` compares."""


def _rows(measured):
    rows = []
    for key, (name, digits) in NUMBERS.items():
        value = measured.get(key)
        if value is not None:
            shown = f"{value:,.{digits}f}"
            if key in _TESTED and measured.get("test_standard_error") is not None:
                shown += f" +- {measured['test_standard_error']:.4f}"
            rows.append(f"| {name} | {shown} |")
    return rows


def _where(measured):
    said = [measured.get("engine"), measured.get("devices"), measured.get("precision")]
    return (
        f"\n\nBy {', '.join(filter(None, said))}; standard errors are over the test data."
        if any(said)
        else ""
    )


def _origin(metadata):
    versions = ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())
    lines = [f"Written by {versions}."]
    data = metadata.get("data") or {}
    if data.get("name"):
        lines.insert(0, f"Data: {data['name']}.")
    if data.get("sha256"):
        lines.insert(1, f"SHA-256 of what it was trained on and tested with: `{data['sha256']}`.")
    if "recipe.toml" in metadata["files"]:
        lines.append("[recipe.toml](recipe.toml) trains it anew: `flowkit train recipe.toml`.")
    return "## Where it comes from\n\n" + "\n".join(lines)
