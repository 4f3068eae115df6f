"""RUN: the folder that holds all of one training run."""

import contextlib
import json
import os
from pathlib import Path

from flowkit.app.failure import CommandError
from flowkit.app.find import hint
from flowkit.app.recipe import dumps, read_recipe
from flowkit.flow.saving import load_file
from flowkit.training.atomic import atomic_path, remove_leftovers

try:
    import fcntl
except ImportError:  # Windows: there nothing stops a second process
    fcntl = None

_FREE = {"training.checkpoint_minutes"}  # what may differ when a run is resumed: it changes no number


_WRITTEN = (
    *("log.csv", "flow.keras", "metrics.json", "checkpoint*.npz", "logs/**/*"),
    *("loss.png", "pairs.png", "quantiles.png", "samples.png", "samples/*.png"),
)
"""Patterns of the files that training writes beside the recipe."""


class RunFolder:
    """The files of a run and their names.

    `recipe.toml` (all values filled in), `log.csv`, `checkpoint.npz` and the one before, `samples/`,
    `loss.png`, `samples.png` (of tables `pairs.png` and `quantiles.png`), `flow.keras` (averaged weights, no
    optimizer), `metrics.json`; `logs/NAME` of each `--log NAME`.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.recipe_path = self.path / "recipe.toml"
        self.log = self.path / "log.csv"
        self.samples_folder = self.path / "samples"
        self.samples = self.path / "samples.png"
        self.pairs = self.path / "pairs.png"
        self.flow_path = self.path / "flow.keras"
        self.metrics = self.path / "metrics.json"

    @contextlib.contextmanager
    def held(self):
        """Lock the folder, made if it is missing, for this process.

        Raises a CommandError if another process holds it. The system releases the lock when a process ends, however it
        ends.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY) if fcntl else None
        try:
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"{self.path}: another process is training into this folder: wait for its end, or choose another "
                "folder with --out"
            ) from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def check(self, recipe, resume, force=False):
        """Raise a CommandError if the folder is taken: by other files, by a run without `resume` or `force`, or with
        `resume` by a run of another recipe. More epochs than the run's own are no difference.
        """
        if self.recipe_path.exists():
            if not (resume or force):
                raise CommandError(
                    f"{self.path} holds a run already: say --resume to go on with it, --force to replace it, or choose "
                    "another folder with --out"
                )
            if resume:
                self._check_same(recipe)
            elif not any((self.path / name).exists() for name in ("log.csv", "flow.keras", "checkpoint.npz")):
                raise CommandError(
                    f"{self.path} holds a recipe.toml and nothing else of a run: choose another folder with --out"
                )
        elif self.path.is_dir() and any(not path.name.startswith(".") for path in self.path.iterdir()):
            raise CommandError(f"{self.path} holds other files: choose another folder with --out")

    def begin(self, recipe, force=False):
        """Write the recipe with all its values, and delete what a killed run has half written.

        With `force` delete all that a run writes; other files in the folder stay.

        Call after all checks pass: until then, nothing in the folder changes.
        """
        for pattern in _WRITTEN if force else ():
            for path in self.path.glob(pattern):
                if path.is_file():
                    path.unlink()
        for folder in (self.path, self.samples_folder):
            remove_leftovers(folder)
        with atomic_path(self.recipe_path) as temporary:
            temporary.write_text(dumps(recipe), encoding="utf-8")

    def _check_same(self, recipe):
        then, now = self.recipe().flat(), recipe.flat()
        epochs = (then["training.epochs"], now["training.epochs"])
        free = _FREE | ({"training.epochs"} if epochs[1] >= epochs[0] else set())
        differing = [key for key in sorted({*then, *now} - free) if then.get(key) != now.get(key)]
        if differing:
            key = differing[0]
            more = f" Also different: {', '.join(differing[1:])}." if differing[1:] else ""
            raise CommandError(
                f"{self.path}: got {key} = {now.get(key)!r}, expected {then.get(key)!r}, as it was trained.{more} "
                "The same recipe goes on, another needs another --out"
            )

    def recipe(self):
        """Return the run's recipe."""
        self._exists()
        return read_recipe(str(self.recipe_path))

    def check_flow(self):
        """Raise a CommandError if training has not come to its end, or never begun."""
        self._exists()
        if not self.flow_path.exists():
            raise CommandError(
                f"{self.path} holds no flow.keras: training has not come to its end; `flowkit train` goes on "
                "with --resume"
            )

    def load_flow(self):
        """Return the trained flow; raise a CommandError if training has not come to its end."""
        self.check_flow()
        return load_file(self.flow_path)

    def measured(self):
        """Return the content of `metrics.json`; {} if there is none. Raise a CommandError for a damaged one."""
        try:
            return json.loads(self.metrics.read_bytes()) if self.metrics.is_file() else {}
        except ValueError as error:
            raise CommandError(
                f"{self.metrics}: got a damaged file ({error}), expected the numbers of a run"
            ) from None

    def _exists(self):
        if not self.recipe_path.exists():
            raise CommandError(
                f"{self.path}: got no recipe.toml in it, expected the folder of a run; {hint(self.path)}"
            )
