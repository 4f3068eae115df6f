"""A trained flow, as RUN names it: the folder of a run, a preset by name or folder, or a .keras file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flowkit import presets
from flowkit._shipped import shipped_preset
from flowkit.app.experiment import load
from flowkit.app.failure import CommandError, together
from flowkit.app.images import Images
from flowkit.app.recipe import read_recipe
from flowkit.app.run_folder import RunFolder
from flowkit.app.tables import Tables
from flowkit.data import absolute
from flowkit.flow import Flow
from flowkit.flow.saving import load_file
from flowkit.presets.folder import check_file, is_preset
from flowkit.presets.hub import SCHEME
from flowkit.tables import TableFlow

_NOT_ABOUT = ("files", "measured", "preset")  # entries of a preset's metadata.json


@dataclass(frozen=True)
class Trained:
    """A trained flow, where pictures of it go, and what is known of it: `recipe_path` is None if it has no recipe."""

    name: str
    load_flow: Callable[[], Flow]
    path: Path = Path()
    recipe_path: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)
    data_sha256: str | None = None  # of the data that it was trained on, as `data.content_hash` gives it

    def recipe(self, source=None):
        """Return the recipe that the flow was trained by, with data from `source` if that is given, or None."""
        if self.recipe_path is None:
            return None
        sources = [] if source is None else [("data.source", absolute(source))]
        return read_recipe(str(self.recipe_path), sources)


def trained(run):
    """Return the `Trained` that `run` names.

    `run` is a run's folder, a preset by folder, by a name such as glow/digits or by hf://user/name, or a .keras file.
    Raises a CommandError or PresetError if there is none, or if its files are damaged.
    """
    path = Path(run)
    shipped = not (path / "recipe.toml").is_file() and shipped_preset(run) is not None
    if run.startswith(SCHEME) or is_preset(path) or shipped:
        preset = presets.read_preset(presets.find_preset(run))  # which may download it, once
        about = {key: value for key, value in preset.metadata.items() if key not in _NOT_ABOUT}
        about = {"preset": str(preset.folder), **about, **preset.measured}
        data_sha256 = (preset.metadata.get("data") or {}).get("sha256")
        return Trained(
            run, lambda: Flow.from_preset(preset.folder), Path(), preset.recipe, about, data_sha256
        )
    if path.suffix == ".keras" and not path.is_dir():
        check_file(path)
        return Trained(run, lambda: load_file(path))
    folder = RunFolder(path)
    folder.check_flow()
    about = folder.measured()
    return Trained(run, folder.load_flow, path, folder.recipe_path, about, about.get("data_sha256"))


def loaded(run):
    """Return the `Trained` that `run` names, and its flow; an error in one process ends the command in all."""
    with together():  # JAX's processes need each other to load it, so first each looks if it is there
        found = trained(run)
    with together():
        return found, found.load_flow()


def kind_of_flow(flow, name):
    """Return the kind of a flow, `Images()` or `Tables()`; raise a CommandError for a flow of other events."""
    if len(flow.event_shape or ()) not in (1, 3):
        raise CommandError(
            f"{name}: got a flow of events {flow.event_shape}, expected one of images or of tables that was built"
        )
    return Tables() if flow.dequantize is None and len(flow.event_shape) == 1 else Images()


def require_types(flow, what):
    """Raise a CommandError that begins with `what` unless a flow is one of a table whose columns have types."""
    if not isinstance(flow, TableFlow):
        raise CommandError(
            f"{what}: got another flow, expected a flow of a table whose columns have types. Train one by "
            "flowkit train table."
        )


def classes_of(flow):
    """Return how many classes a class-conditional flow knows, None for another flow."""
    return flow.num_classes if flow.context_kind == "required" else None


def given_label(flow, label, folder):
    """Return the context for --label, None for a flow without classes; raise a CommandError if it does not fit."""
    classes = classes_of(flow)
    if classes is None and label is None:
        return None
    if classes is None:
        raise CommandError(f"--label: got {label}, expected no label, since the flow has no classes")
    if label is None:
        raise CommandError(f"--label: got no label, expected a class, 0..{classes - 1}. Pass --label 0")
    if label.isdigit() and int(label) < classes:
        return np.array([int(label)])
    return np.array([class_number(data_of(folder, flow, "test", None), label, "--label")])


def class_number(dataset, word, option):
    """Return the label that `word` names: a number, or one of the data's class names in any case."""
    if dataset.labels is None:
        raise CommandError(
            f"{option}: {dataset.name} has no labels. Put the images of each class in a folder of its name, inside "
            "the folder of all images"
        )
    names = [name.lower() for name in dataset.classes or ()]
    if word.lower() in names:
        return names.index(word.lower())
    known = np.unique(dataset.labels).tolist()
    if word.isdigit() and int(word) in known:
        return int(word)
    expected = ", ".join(f"{n} ({dataset.classes[n]})" if names else str(n) for n in known)
    raise CommandError(f"{option}: got {word!r}, expected one of {expected}")


def data_of(folder, flow, split, source):
    """Return a split of the data that the flow was trained on, or of `source`, which a flow without recipe needs."""
    recipe = folder.recipe(source)
    if recipe is None and source is None:
        raise CommandError(
            f"{folder.name}: a flow alone does not say what data it is of: --data SOURCE gives a data set that it was "
            "not trained on, by name or path"
        )
    if recipe is None:
        return kind_of_flow(flow, folder.name).of_source(flow, source, split)
    if not isinstance(flow, TableFlow):
        return load(recipe, split)
    table = recipe.data  # in the flow's own codes
    return Tables().of_source(flow, table.source, split, limit=table.limit)
