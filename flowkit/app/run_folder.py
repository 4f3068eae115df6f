"""RUN: the folder that holds all of one training run."""

import json
import math
import os
from pathlib import Path

from flowkit.app import lock
from flowkit.app.experiment import with_source
from flowkit.app.failure import CommandError, say
from flowkit.app.flow_file import check_file, read_flow
from flowkit.app.nearby import hint, meant_by, runs_beside
from flowkit.app.read import read_recipe
from flowkit.app.schema import dumps
from flowkit.distributed.launcher import starts_again
from flowkit.training import atomic_path
from flowkit.training.atomic import remove_leftovers
from flowkit.training.checkpoint import previous

_FREE = {"training.checkpoint_minutes"}  # what may differ when a run is resumed: it changes no number


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
        self.checkpoint = self.path / "checkpoint.npz"
        self.samples_folder = self.path / "samples"
        self.curves = self.path / "loss.png"
        self.samples = self.path / "samples.png"
        self.pairs = self.path / "pairs.png"
        self.quantiles = self.path / "quantiles.png"
        self.flow_path = self.path / "flow.keras"
        self.metrics = self.path / "metrics.json"
        self.logs = self.path / "logs"

    def check_resumable(self):
        """Raise a CommandError if there is no folder to go on in, and another run has nearly its name.

        If the runs beside it have other names, a note lists them. A launcher passes --resume whether it starts a run or
        starts it again: there a similar name is a note, and other names are not mentioned.
        """
        if self.path.exists():
            return
        if not (meant := meant_by(self.path)):
            beside = runs_beside(self.path)
            if beside and not starts_again(os.environ):
                say(
                    f"note: --resume: {self.path} is not there, so a new run begins; the newest of those beside it "
                    f"are {', '.join(map(str, beside))}"
                )
            return
        if starts_again(os.environ):
            say(f"note: {self.path} is a new run; the one in {meant} is another")
            return
        raise CommandError(
            f"--resume: {self.path}: expected the folder of a run, found none; did you mean {meant}? Without "
            "--resume a new run begins"
        )

    def held(self):
        """Return a scope in which no other process trains into this folder, which is made if it is missing."""
        if self.path.exists() and not self.path.is_dir():
            raise CommandError(f"--out {self.path}: expected a folder, found a file")
        return lock.held(self.path)

    def check(self, recipe, resume):
        """Raise a CommandError if the folder is taken: by other files, by a run if `resume` is
        not given, or by a run of another recipe. More epochs than the run's own are no difference.
        """
        if self.recipe_path.exists():
            if not resume:
                raise CommandError(
                    f"{self.path} holds a run already: say --resume to go on with it, or choose another "
                    "folder with --out"
                )
            self._check_same(recipe)
            self._check_places()
        elif any(not path.name.startswith(".") for path in self.path.iterdir()):
            raise CommandError(f"{self.path} holds other files: choose another folder with --out")

    def begin(self, recipe):
        """Write the recipe with all its values, and clear away what a killed run has half written.

        Call after all checks pass: until then, nothing in the folder changes.
        """
        for folder in (self.path, self.samples_folder):
            remove_leftovers(folder)
        with atomic_path(self.recipe_path) as temporary:
            temporary.write_text(dumps(recipe), encoding="utf-8")

    def _check_places(self):
        """Raise a CommandError if a file that an epoch writes is a folder, or the other way round."""
        checkpoints = (self.checkpoint, previous(self.checkpoint))
        pictures = (self.curves, self.samples, self.pairs, self.quantiles)
        for path in (self.log, *checkpoints, *pictures, self.flow_path, self.metrics):
            if path.is_dir():
                raise CommandError(f"{path}: expected a file, found a folder: move it away")
        folder = self.samples_folder
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            found = "a link" if folder.is_symlink() else "a file"
            raise CommandError(f"{folder}: expected a folder of the run's own, found {found}: move it away")

    def _check_same(self, recipe):
        then, now = _flat(read_recipe(str(self.recipe_path))), _flat(recipe)
        longer = now["training.epochs"] > then["training.epochs"]
        differing = [
            key
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key)
            and not (longer and key == "training.epochs")
            and key not in _FREE
        ]
        if differing:
            key = differing[0]
            more = f" (and {', '.join(differing[1:])})" if differing[1:] else ""
            raise CommandError(
                f"{key} is {_shown(now.get(key))}, but {self.path} was trained with "
                f"{_shown(then.get(key))}{more}: the same recipe goes on, another needs another --out"
            )
        if longer and now["training.schedule"] == "cosine":
            say(
                f"note: the cosine schedule now ends at epoch {now['training.epochs']} instead of "
                f"{then['training.epochs']}: the learning rate is another than in one run of that length"
            )

    def recipe(self, source=None):
        """Return the run's recipe, with data from `source` if that is given."""
        self._exists()
        return with_source(read_recipe(str(self.recipe_path)), source)

    def save_flow(self, flow):
        """Write `flow.keras` in a single step."""
        with atomic_path(self.flow_path) as temporary:
            flow.save(temporary)

    def check_flow(self):
        """Raise a CommandError if training has not come to its end, or never begun."""
        self._exists()
        if not self.flow_path.exists():
            raise CommandError(
                f"{self.path} holds no flow.keras: training has not come to its end; `flowkit train` goes on "
                "with --resume"
            )
        check_file(self.flow_path)

    def load_flow(self):
        """Return the trained flow; raise a CommandError if training has not come to its end."""
        self.check_flow()
        return read_flow(self.flow_path)

    def data_sha256(self):
        """Return the sum of the data that the flow was trained on, as `data.content_hash` gives it, or None."""
        try:
            return json.loads(self.metrics.read_text(encoding="utf-8")).get("data_sha256")
        except (OSError, ValueError, AttributeError):
            return None

    def save_metrics(self, metrics):
        """Write `metrics.json` in a single step. A number that is not finite becomes null: JSON has no NaN."""
        metrics = {name: None if _is_lost(value) else value for name, value in metrics.items()}
        with atomic_path(self.metrics) as temporary:
            temporary.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def _exists(self):
        if not self.recipe_path.exists():
            if self.path.is_dir():
                found = "one without a recipe.toml"
            else:
                found = "a file" if self.path.exists() else "none"
            raise CommandError(f"{self.path}: expected the folder of a run, found {found}; {hint(self.path)}")


def _flat(recipe):
    return {
        f"{table}.{key}": value for table, values in recipe.tables().items() for key, value in values.items()
    }


def _is_lost(value):
    return isinstance(value, float) and not math.isfinite(value)


def _shown(value):
    return "not set" if value is None else repr(value)
