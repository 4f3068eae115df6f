"""README.md of a preset: a model card in the form of Hugging Face's hub, made from metadata.json alone."""

import json
from collections.abc import Mapping
from typing import Any

_SCORES = {"test_bits_per_dim": "bits_per_dim", "test_log_prob": "log_likelihood"}


def card(metadata: Mapping[str, Any]) -> str:
    """Return the text of README.md, from the content of metadata.json.

    >>> text = card({"name": "digits", "files": {}, "versions": {"flowkit": "0.1.0", "keras": "3.15.1"}})
    >>> text.splitlines()[1]
    'library_name: "flowkit"'
    """
    measured = shown(metadata.get("measured") or {})
    rows = [f"| {name.replace('_', ' ')} | {text} |" for name, text in measured.items()]
    parts = [
        f"---\n{_header(metadata)}---",
        f"# {metadata['name']}",
        metadata.get("description"),
        _made_of(metadata),
        "samples.png" in metadata["files"] and "![Samples](samples.png)",
        _usage(metadata),
        _measured(rows),
        _origin(metadata),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def shown(measured: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> text of what a run has measured: a score with its standard error, numbers in readable digits.

    >>> shown({"test_log_prob": -2.8125, "test_standard_error": 0.25, "test_rows": 6400, "seconds": None})
    {'test_log_prob': '-2.8125 +- 0.2500', 'test_rows': '6,400'}
    """
    texts = {}
    for name, value in measured.items():
        split, _, kind = name.partition("_")
        error = measured.get(f"{split}_standard_error")
        if kind in ("bits_per_dim", "log_prob") and isinstance(value, float):
            texts[name] = f"{value:.4f}" + (f" +- {error:.4f}" if isinstance(error, float) else "")
        elif value is not None and kind != "standard_error":
            texts[name] = f"{value:,.6g}" if isinstance(value, float) else _text(value)
    return texts


def _measured(rows):
    if not rows:
        return ""
    table = "\n".join(["| | |", "|---|---|", *rows])
    return f"## Measured\n\n{table}\n\nStandard errors are over the rows of the split."


def _text(value):
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _header(metadata):
    """Return the header in YAML, which includes JSON: a line for each key."""
    measured, data = metadata.get("measured") or {}, (metadata.get("data") or {}).get("name")
    keys: dict[str, Any] = {"license": metadata["license"]} if metadata.get("license") else {}
    keys |= {"library_name": "flowkit", "tags": ["normalizing-flow", "density-estimation", "keras"]}
    results = [
        {"type": kind, "name": name.replace("_", " "), "value": round(measured[name], 4)}
        for name, kind in _SCORES.items()
        if measured.get(name) is not None
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
    if "parameters" not in metadata:
        return ""
    given = (
        f", conditioned on one of {metadata['num_classes']} classes" if metadata.get("num_classes") else ""
    )
    event = " x ".join(map(str, metadata.get("event_shape", ())))
    return (
        f"A normalizing flow for events of shape {event}{given}, with {metadata['parameters']:,} parameters."
    )


def _usage(metadata):
    context = ", context" if metadata.get("num_classes") else ""
    return f"""```python
import flowkit  # the backend, KERAS_BACKEND, is jax, torch or tensorflow

flow = flowkit.Flow.from_preset("path/of/this/folder")  # or hf://user/name
flow.sample(16{context}, seed=0)
flow.log_prob(x{context})  # nats
```

Loading runs no code. `from_preset` compares each file with its SHA-256 in `metadata.json`."""


def _origin(metadata):
    data = metadata.get("data") or {}
    versions = ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())
    lines = [
        data.get("name") and f"Data: {data['name']}.",
        data.get("sha256") and f"SHA-256 of the training and test data: `{data['sha256']}`.",
        f"Written by {versions}.",
        "recipe.toml" in metadata["files"]
        and "`flowkit train recipe.toml` trains it again by its [recipe](recipe.toml).",
    ]
    return "## Origin\n\n" + "\n".join(line for line in lines if line)
