"""A preset: a trained flow as a folder that describes itself, from the disk, from flowkit itself or from the hub.

    config.json        what the flow is made of, as Keras writes it
    model.weights.h5   its weights
    metadata.json      what was measured, on which data, by which versions; the SHA-256 of the others but README.md
    README.md          the same for people, with the header that Hugging Face's hub reads
    check.npz          some rows and what log_prob said of them, if they were given
    recipe.toml, samples.png   of a run, by `flowkit preset RUN FOLDER`

`Flow.from_preset` reads one, `flow.save_to_preset` writes one, `upload_preset` takes one to the hub. No file runs code.
"""

from flowkit.presets.card import card
from flowkit.presets.folder import Preset, PresetError, read_preset, write_preset
from flowkit.presets.hub import find_preset, upload_preset

__all__ = ["Preset", "PresetError", "card", "find_preset", "read_preset", "upload_preset", "write_preset"]
