"""README.md of a preset: a model card in the form of Hugging Face's hub, made from metadata.json alone."""

import json
from collections.abc import Mapping
from typing import Any

_TAGS = ["normalizing-flow", "density-estimation", "keras"]
_USAGE = """```python
import flowkit  # the backend, KERAS_BACKEND, is jax, torch or tensorflow

flow = flowkit.Flow.from_preset("path/of/this/folder")  # or hf://user/name
flow.sample(16{context}, seed=0)
flow.log_prob(x{context})  # nats
```

Loading runs no code. `from_preset` compares each file with its SHA-256 in `metadata.json`."""


def card(metadata: Mapping[str, Any]) -> str:
    """Return the text of README.md, from the content of metadata.json.

    >>> text = card({"name": "digits", "files": {}, "versions": {"flowkit": "0.1.0", "keras": "3.15.1"}})
    >>> text.splitlines()[1]
    'library_name: "flowkit"'
    """
    data, classes = metadata.get("data") or {}, metadata.get("num_classes")
    context = ", context" if classes else ""
    # YAML includes JSON.
    keys = {"license": metadata.get("license"), "library_name": "flowkit", "tags": _TAGS}
    header = "".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in keys.items() if value
    )
    parts = [f"---\n{header}---", f"# {metadata['name']}", metadata.get("description")]
    if "parameters" in metadata:
        event = " x ".join(map(str, metadata.get("event_shape", ())))
        given = f", conditioned on one of {classes} classes" if classes else ""
        flow = f"A normalizing flow for events of shape {event}{given}"
        parts.append(f"{flow}, with {metadata['parameters']:,} parameters.")
    if "samples.png" in metadata["files"]:
        parts.append("![Samples](samples.png)")
    parts.append(_USAGE.format(context=context))
    if measured := shown(metadata.get("measured") or {}):
        rows = "\n".join(f"| {name.replace('_', ' ')} | {text} |" for name, text in measured.items())
        parts.append(
            f"## Measured\n\n| | |\n|---|---|\n{rows}\n\nStandard errors are over the rows of the split."
        )
    versions = ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())
    origin = [
        data.get("name") and f"Data: {data['name']}.",
        data.get("sha256") and f"SHA-256 of the training and test data: `{data['sha256']}`.",
        f"Written by {versions}.",
    ]
    if "recipe.toml" in metadata["files"]:
        origin.append("`flowkit train recipe.toml` trains it again by its [recipe](recipe.toml).")
    parts.append("## Origin\n\n" + "\n".join(line for line in origin if line))
    return "\n\n".join(part for part in parts if part) + "\n"


def shown(measured: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> text of what a run has measured: a score with its standard error, numbers in readable digits.

    >>> shown({"test_log_prob": -2.8125, "test_standard_error": 0.25, "test_rows": 6400, "labels": {"cat": 5}})
    {'test_log_prob': '-2.8125 +- 0.2500', 'test_rows': '6,400', 'labels': 'cat 5'}
    """
    texts = {}
    for name, value in measured.items():
        split, _, kind = name.partition("_")
        error = measured.get(f"{split}_standard_error")
        if kind in ("bits_per_dim", "log_prob") and isinstance(value, float):
            texts[name] = f"{value:.4f}" + (f" +- {error:.4f}" if isinstance(error, float) else "")
        elif value is not None and kind != "standard_error" and name != "written":  # which is for programs
            texts[name] = f"{value:,.6g}" if isinstance(value, float) else _text(value)
    return texts


def _text(value):
    if isinstance(value, dict):
        return value.get("sentence") or ", ".join(f"{key} {part}" for key, part in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
