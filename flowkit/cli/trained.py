"""A trained flow, as the commands that use one are given it: the folder of a run, or a name of the zoo."""

from pathlib import Path

from flowkit import recipes, zoo
from flowkit.cli.failure import CommandError
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


def trained(run):
    """`run`, a path or a name such as glow/fashion-mnist, as something with `recipe`, `load_flow` and `path`."""
    if run.exists() or run.as_posix() not in zoo.pretrained():
        return RunFolder(run)
    return Pretrained(run.as_posix())
