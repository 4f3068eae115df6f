"""`flowkit list`: the trained flows and recipes that come with flowkit, with a line about each. Loads no backend."""

import json

from flowkit._shipped import preset_folders, recipe_files
from flowkit.app.commands import Backend, Json
from flowkit.presets.card import shown

_USES = {"trained": "flowkit sample NAME, and other commands", "recipes": "flowkit train NAME"}
_UNITS = {"test_bits_per_dim": "bits/dim", "test_log_prob": "nats"}


def list(json_: Json = False, backend: Backend = None):
    """List the trained flows and the recipes that come with flowkit."""
    found = {
        "trained": {name: _reached(folder) for name, folder in preset_folders().items()},
        "recipes": {name: _purpose(path) for name, path in recipe_files().items()},
    }
    if json_:
        print(json.dumps(found, indent=2))
        return
    width = max(map(len, found["recipes"]))
    for kind, use in _USES.items():
        print(f"{kind}: {use}")
        for name, line in found[kind].items():
            print(f"  {name:{width}}  {line}")


def _purpose(recipe):
    """Return the first sentence of a recipe's first comment."""
    words = []
    for line in recipe.read_text(encoding="utf-8").splitlines():
        if not line.removeprefix("#").strip():
            break
        words.append(line.removeprefix("#").strip())
    sentence, end, _ = " ".join(words).partition(". ")
    return sentence + end.strip()


def _reached(preset):
    """Return the data and the test score of a trained flow."""
    metadata = json.loads((preset / "metadata.json").read_text(encoding="utf-8"))
    size, texts = "x".join(map(str, metadata["event_shape"])), shown(metadata["measured"])
    score = next(f"{texts[key]} {unit}" for key, unit in _UNITS.items() if key in texts)
    return f"{metadata['data']['name']}, {size}: {score} on test data"
