"""A trained flow, as RUN names it: the folder of a run, a preset by name or folder, or a .keras file."""

from pathlib import Path

from flowkit import presets
from flowkit.app.experiment import with_source
from flowkit.app.failure import CommandError
from flowkit.app.flow_file import check_file, read_flow
from flowkit.app.group import alike
from flowkit.app.images import Images
from flowkit.app.read import read_recipe
from flowkit.app.run_folder import RunFolder
from flowkit.app.tables import Tables
from flowkit.flows import Flow
from flowkit.presets.find import shipped_preset
from flowkit.presets.folder import is_preset
from flowkit.presets.hub import SCHEME


class FromPreset:
    """A preset, with the methods of a `RunFolder` for trained flows. Pictures go to the working folder."""

    path = Path()

    def __init__(self, name):
        self.name = name
        self._folder = presets.find_preset(name)  # which may download it, once

    def preset(self):
        """Return the preset, after its files were checked."""
        return presets.read_preset(self._folder)

    def has_recipe(self):
        """Return False for a preset that was made of a flow alone."""
        return self.preset().recipe is not None

    def recipe(self, source=None):
        """Return the recipe that the flow was trained by, with data from `source` if that is given."""
        path = self.preset().recipe
        if path is None:
            raise _refusal(self.name, "a preset made of a run")
        return with_source(read_recipe(str(path)), source)

    def data_sha256(self):
        """Return the sum of the data that the flow was trained on, as `data.content_hash` gives it, or None."""
        return (self.preset().metadata.get("data") or {}).get("sha256")

    def check_flow(self):
        """Do nothing: a preset without a flow is not found."""

    def load_flow(self):
        """Return the trained flow; raise a PresetError if one of its files is damaged."""
        return Flow.from_preset(self._folder)


class LoneFlow:
    """A .keras file, with the methods of a `RunFolder` for trained flows."""

    path = Path()

    def __init__(self, file):
        self._file = file

    def has_recipe(self):
        """Return False."""
        return False

    def recipe(self, source=None):
        """Raise a CommandError: there is none."""
        raise _refusal(self._file, "the folder of a run")

    def check_flow(self):
        """Raise a CommandError if there is no such file."""
        check_file(self._file)

    def load_flow(self):
        """Return the flow; raise a CommandError if its file is damaged, or holds something else."""
        return read_flow(self._file)


def _refusal(name, expected):
    return CommandError(
        f"{name}: expected {expected}, whose recipe says what data it is of, received a flow alone; only `flowkit "
        "sample` and `info`, and of tables `evaluate --data`, need no more"
    )


def trained(run):
    """Return `run` as an object with `recipe`, `load_flow` and `path`.

    `run` is a run's folder, a preset by folder, by a name such as glow/digits or by hf://user/name, or a .keras file.
    """
    path = Path(run)
    shipped = not (path / "recipe.toml").is_file() and shipped_preset(run) is not None
    if run.startswith(SCHEME) or is_preset(path) or shipped:
        return FromPreset(run)
    if path.suffix == ".keras" and not path.is_dir():
        return LoneFlow(path)
    return RunFolder(path)


def trained_in_all(run):
    """Return `trained(run)` in all processes, once each sees the flow there: JAX's need each other to load it."""

    def there():
        found = trained(run)
        found.check_flow()
        return found

    return alike(there)


def kind_of_flow(flow, name):
    """Return what a flow is of: `Images()` or `Tables()`; raise a CommandError for a flow of unknown size."""
    if flow.event_shape is None:
        raise CommandError(
            f"{name}: expected a flow of known size, got one that was not built: build it, then save it"
        )
    return Tables() if flow.dequantize is None and len(flow.event_shape) == 1 else Images()
