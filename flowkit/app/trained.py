"""A trained flow, as RUN names it: the folder of a run, a preset by name or folder, or a .keras file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowkit import presets
from flowkit.app.experiment import load, with_source
from flowkit.app.failure import CommandError, together
from flowkit.app.flow_file import check_file, read_flow
from flowkit.app.images import Images
from flowkit.app.recipe import read_recipe
from flowkit.app.run_folder import RunFolder
from flowkit.app.tables import Tables
from flowkit.flow import Flow
from flowkit.flow.context import context_kind
from flowkit.presets.find import shipped_preset
from flowkit.presets.folder import is_preset
from flowkit.presets.hub import SCHEME


@dataclass(frozen=True)
class Alone:
    """A preset or a .keras file, with a `RunFolder`'s methods for trained flows. Pictures go to the working folder."""

    name: str
    preset: presets.Preset | None
    path = Path()

    def recipe(self, source=None):
        """Return the recipe that the flow was trained by, with data from `source` if that is given, or None."""
        if self.preset is None or self.preset.recipe is None:
            return None
        return with_source(read_recipe(str(self.preset.recipe)), source)

    def data_sha256(self):
        """Return the sum of the data that the flow was trained on, as `data.content_hash` gives it, or None."""
        return self.preset and (self.preset.metadata.get("data") or {}).get("sha256")

    def about(self):
        """Return what metadata.json contains: where the flow comes from, and its measured numbers."""
        if self.preset is None:
            return {}
        hidden = ("files", "measured", "preset")
        own = {key: value for key, value in self.preset.metadata.items() if key not in hidden}
        return {"preset": str(self.preset.folder), **own, **self.preset.measured}

    def check_flow(self):
        """Raise a CommandError if there is no such .keras file."""
        if self.preset is None:
            check_file(Path(self.name))

    def load_flow(self):
        """Return the flow; raise a CommandError or PresetError if one of its files is damaged."""
        return read_flow(Path(self.name)) if self.preset is None else Flow.from_preset(self.preset.folder)


def trained(run):
    """Return `run` as an object with `recipe`, which is None if unknown, `load_flow` and `path`.

    `run` is a run's folder, a preset by folder, by a name such as glow/digits or by hf://user/name, or a .keras file.
    """
    path = Path(run)
    shipped = not (path / "recipe.toml").is_file() and shipped_preset(run) is not None
    if run.startswith(SCHEME) or is_preset(path) or shipped:
        return Alone(run, presets.read_preset(presets.find_preset(run)))  # which may download it, once
    if path.suffix == ".keras" and not path.is_dir():
        return Alone(run, None)
    return RunFolder(path)


def trained_in_all(run):
    """Return `trained(run)` in all processes, once each sees the flow there: JAX's need each other to load it."""
    with together():
        found = trained(run)
        found.check_flow()
    return found


def kind_of_flow(flow, name):
    """Return the kind of a flow, `Images()` or `Tables()`; raise a CommandError for a flow of unknown size."""
    if flow.event_shape is None:
        raise CommandError(
            f"{name}: expected a flow of known size, got one that was not built: build it, then save it"
        )
    return Tables() if flow.dequantize is None and len(flow.event_shape) == 1 else Images()


def classes_of(flow):
    """Return how many classes a class-conditional flow knows, None for another flow."""
    return flow.num_classes if context_kind(flow) == "required" else None


def given_label(flow, label):
    """Return the context for --label, None for a flow without classes; raise a CommandError if it does not fit."""
    classes = classes_of(flow)
    if classes is None and label is not None:
        raise CommandError(f"--label: the flow knows no classes, expected none, received {label}")
    if classes is not None and not (label is not None and 0 <= label < classes):
        received = "none" if label is None else label
        raise CommandError(
            f"--label: the flow is class-conditional, expected 0..{classes - 1}, received {received}"
        )
    return None if label is None else np.array([label])


def data_of(folder, flow, split, source):
    """Return a split of the data that the flow was trained on, or of `source`, which a flow without recipe needs."""
    recipe = folder.recipe(source)
    if recipe is not None:
        return load(recipe, split)
    if source is None:
        raise CommandError(
            f"{folder.name}: a flow alone does not say what data it is of: --data SOURCE gives a data set that it was "
            "not trained on, by name or path"
        )
    return kind_of_flow(flow, folder.name).of_source(flow, source, split)
