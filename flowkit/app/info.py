"""`flowkit info`: versions for a bug report; with a name the parts of that flow, its scores and its paper."""

import inspect
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from flowkit._shipped import closest, preset_folders, recipe_files
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Json, print_json, recipe_names
from flowkit.app.failure import CommandError, printable
from flowkit.app.find import hint, is_path

_COLUMNS = 8  # of the table for which a family of tables is shown
_LONGEST, _WIDEST = 300, 40  # characters of a fact, and of a name that the facts still line up with


def info(
    name: Annotated[
        str | None,
        Argument(
            metavar="[NAME]",
            help="A family, recipe or preset by name, a run, hf://user/name, or a .keras file.",
            autocompletion=recipe_names,
        ),
    ] = None,
    json_: Json = False,
    cite: Annotated[bool, Option("--cite", help="The paper of NAME as BibTeX, and no more.")] = False,
    backend: Backend = None,
):
    """Print versions, backend, devices and precision, for a bug report; of NAME, what is in it and its paper."""
    use(backend)
    from flowkit.flow.summary import rows
    from flowkit.presets.card import shown
    from flowkit.zoo.papers import PAPERS

    if name is None:
        if cite:
            raise CommandError(f"--cite: got no NAME, expected one with a paper, such as {', '.join(PAPERS)}")
        print_json(facts()) if json_ else _show(facts())
        return
    family, about, make = _found(name)
    if cite:
        if family is None:
            raise CommandError(f"{name}: a flow alone does not say which paper it is from: name its family")
        print(PAPERS[family].bibtex())
        return
    if json_:
        parts = [asdict(row) for row in rows(make())]
        print_json({"paper": family and str(PAPERS[family]), **about, "parts": parts})
        return
    if family is not None:
        print(f"{PAPERS[family]}\nflowkit info {name} --cite gives it as BibTeX")
    _show(shown(about))
    make().summary(shutil.get_terminal_size().columns, print_fn=_show_lines)


def _show(about):
    width = max([10, *(min(len(key), _WIDEST) for key in about)])
    for key, value in about.items():
        print(f"{printable(key):{width}} {printable(value, _LONGEST)}")


def _show_lines(text):
    print(*map(printable, text.splitlines()), sep="\n")


def _found(name):
    """Return (the family or None, facts, a function that makes the flow) of whatever `name` names."""
    from flowkit import zoo
    from flowkit.app.recipe import read_recipe
    from flowkit.app.trained import trained
    from flowkit.presets.hub import SCHEME

    if name in zoo.ARCHITECTURES:
        images = "input_shape" in inspect.signature(zoo.ARCHITECTURES[name]).parameters
        size = {"input_shape": (32, 32, 3)} if images else {"features": _COLUMNS}
        return name, {}, lambda: zoo.ARCHITECTURES[name](**size)
    path, shipped = Path(name), name.rstrip("/") in preset_folders()
    if path.is_dir() or path.suffix == ".keras" or shipped or name.startswith(SCHEME):
        found = trained(name)
        recipe = found.recipe()
        return recipe and recipe.model["name"], found.about, found.load_flow
    if name not in recipe_files() and not path.is_file():
        near = hint(path) if is_path(name) else closest(name, [*zoo.ARCHITECTURES, *recipe_files()])
        raise CommandError(
            f"info: got {name}, expected a family, a recipe, the folder of a run or preset, or a .keras file; {near}"
        )
    recipe = read_recipe(name)
    return recipe.model["name"], {}, lambda: _untrained(recipe)


def _untrained(recipe):
    """Return the recipe's flow for its data, or for data of an assumed size if they are not here."""
    from flowkit.app.experiment import build_flow, load

    try:
        train = load(recipe, "train")
    except (OSError, ValueError):
        train = None
    return build_flow(recipe, train)


def facts():
    """Return versions, backend, devices and precision, as text."""
    import keras
    import numpy as np

    import flowkit
    from flowkit.engines import engine

    return {
        "flowkit": flowkit.__version__,
        "backend": f"{engine.name} {engine.version()}",
        "devices": ", ".join(engine.devices()),
        "precision": keras.config.dtype_policy().name,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
