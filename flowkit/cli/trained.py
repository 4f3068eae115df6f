"""A trained flow, as the commands that use one are given it: a run's folder, a preset by name or folder, or a file."""

from pathlib import Path

from flowkit import presets, recipes
from flowkit.cli.failure import CommandError
from flowkit.cli.flow_file import check_file, read_flow
from flowkit.cli.group import alike
from flowkit.cli.run_folder import RunFolder, with_source
from flowkit.flows import Flow
from flowkit.presets.find import shipped_preset
from flowkit.presets.folder import is_preset
from flowkit.presets.hub import SCHEME


class FromPreset:
    """The flow of a preset, in the place of a `RunFolder`. Pictures go to the working folder."""

    path = Path()

    def __init__(self, name):
        self._name = name
        self._folder = presets.find_preset(name)  # which may download it, once

    def recipe(self, source=None):
        """The recipe that the flow was trained by, with data from `source` if that is given."""
        path = presets.read_preset(self._folder).recipe
        if path is None:
            raise CommandError(
                f"{self._name}: expected a preset made of a run, whose recipe says what data it is of, received a flow "
                "alone; only `flowkit sample` and `info`, and of tables `evaluate --data`, need no more"
            )
        return with_source(recipes.read_recipe(str(path)), source)

    def has_recipe(self):
        """Return False for a preset that was made of a flow alone."""
        return presets.read_preset(self._folder).recipe is not None

    def data_sha256(self):
        """The sum of the data that the flow was trained on, as `data.content_hash` gives it, or None."""
        return (presets.read_preset(self._folder).metadata.get("data") or {}).get("sha256")

    def check_flow(self):
        """It is there, or would not have been found."""

    def load_flow(self):
        """The trained flow. Raises a PresetError if one of its files is damaged."""
        return Flow.from_preset(self._folder)


class LoneFlow:
    """A flow in a .keras file, in the place of a `RunFolder`, without the recipe that it was trained by."""

    path = Path()

    def __init__(self, file):
        self._file = file

    def recipe(self, source=None):
        """There is none: raises a CommandError."""
        raise CommandError(
            f"{self._file}: expected the folder of a run, whose recipe says what data it is of, received a flow alone; "
            "only `flowkit sample`, and of tables `evaluate --data`, need no more"
        )

    def has_recipe(self):
        """Return False."""
        return False

    def check_flow(self):
        """Raise a CommandError if there is no such file."""
        check_file(self._file)

    def load_flow(self):
        """The flow. Raises a CommandError if its file is damaged, or holds something else."""
        return read_flow(self._file)


def trained(run):
    """`run` as something with `recipe`, `load_flow` and `path`: a run's folder, a preset by folder, by a name such as
    glow/digits or by hf://user/name, or a .keras file."""
    path = Path(run)
    shipped = not (path / "recipe.toml").is_file() and shipped_preset(run) is not None
    if run.startswith(SCHEME) or is_preset(path) or shipped:
        return FromPreset(run)
    if path.suffix == ".keras" and not path.is_dir():
        return LoneFlow(path)
    return RunFolder(path)


def trained_in_all(run):
    """`trained(run)` in all processes, once each sees the flow there: JAX's need each other to load it."""

    def there():
        found = trained(run)
        found.check_flow()
        return found

    return alike(there)
