"""A trained flow, as the commands that use one are given it: a run's folder, a name of the zoo, or a file."""

from pathlib import Path

from flowkit import recipes, zoo
from flowkit.cli.failure import CommandError
from flowkit.cli.flow_file import read_flow
from flowkit.cli.run_folder import RunFolder, with_source


class Pretrained:
    """A flow that comes with flowkit, in the place of a `RunFolder`. Pictures go to the working folder."""

    path = Path()

    def __init__(self, name):
        self.name = name

    def recipe(self, source=None):
        """The recipe that the flow was trained by, with data from `source` if that is given."""
        return with_source(recipes.read_recipe(self.name), source)

    def load_flow(self):
        """The trained flow. Raises a CommandError if its file is damaged."""
        try:
            return zoo.load(self.name)
        except ValueError as error:
            raise CommandError(str(error)) from error


class LoneFlow:
    """A flow in a .keras file, in the place of a `RunFolder`, without the recipe that it was trained by."""

    path = Path()

    def __init__(self, file):
        self._file = file

    def recipe(self, source=None):
        """There is none: raises a CommandError."""
        raise CommandError(
            f"{self._file}: expected the folder of a run, whose recipe says what data it is of, received a flow alone; "
            "only `flowkit sample` needs no more"
        )

    def load_flow(self):
        """The flow. Raises a CommandError if its file is damaged, or holds something else."""
        return read_flow(self._file)


def trained(run):
    """`run` as something with `recipe`, `load_flow` and `path`: a folder, a name such as glow/digits, a .keras file."""
    if run.suffix == ".keras" and not run.is_dir():
        return LoneFlow(run)
    if run.exists() or run.as_posix() not in zoo.pretrained():
        return RunFolder(run)
    return Pretrained(run.as_posix())
