"""`flowkit preset RUN FOLDER`: a finished run becomes a preset, with the run's own numbers."""

import shutil
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated

import numpy as np
from typer import Argument, Option

from flowkit.app.backend import use
from flowkit.app.commands import Backend, Force, new_folder, one_of_both
from flowkit.app.failure import CommandError

_ROWS = 16  # kept with what log_prob says of them
_PLACES = {"platform", "python", "numpy"}  # which describe the machine and not the flow


def preset(
    run: Annotated[Path, Argument(metavar="RUN", help="The folder of a finished run.")],
    folder: Annotated[
        Path | None, Argument(metavar="FOLDER", help="The preset, a new folder.", file_okay=False)
    ] = None,
    output: Annotated[Path | None, new_folder("The same as FOLDER.")] = None,
    license_: Annotated[
        str | None, Option("--license", help="License of the weights, such as apache-2.0.")
    ] = None,
    description: Annotated[str | None, Option(help="The first lines of the README.")] = None,
    force: Force = False,
    backend: Backend = None,
):
    """Make a preset of a run: a folder with flow, recipe, numbers and a model card, to be shared."""
    folder = one_of_both(folder, output, "output", "a new folder")
    use(backend)
    from flowkit.app.recipe import dumps
    from flowkit.app.run_folder import RunFolder
    from flowkit.presets.folder import FILES, is_preset

    replaced = force and is_preset(folder)
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()] if replaced else []
    if others := [path for path in paths if not any(path.match(pattern) for pattern in FILES)]:
        raise CommandError(
            f"{folder}: got {others[0]} in it, expected the files of a preset alone. Move it away."
        )
    source = RunFolder(run)
    recipe, flow = source.recipe(), source.load_flow()
    measured = {name: value for name, value in source.measured().items() if name not in _PLACES}
    table = replace(recipe.data, source=without_folder(recipe.data.source))
    extra = {"recipe.toml": dumps(replace(recipe, data=table)).encode()}
    if source.samples.is_file():
        extra["samples.png"] = source.samples.read_bytes()
    about = {
        "license": license_,
        "description": description,
        "data": {
            "name": without_folder(measured.pop("data", recipe.data.source)),
            "sha256": measured.pop("data_sha256", None),
        },
        "measured": measured,
    }
    rows, context = _rows(flow, recipe.sampling.temperature)
    about = {key: value for key, value in about.items() if value is not None}
    new = folder.with_name(f".{folder.name}.partial-preset") if replaced else folder
    flow.save_to_preset(new, rows=rows, context=context, about=about, extra=extra)
    if replaced:
        shutil.rmtree(folder)
        new.rename(folder)
    print(f"preset {folder}")


def _rows(flow, temperature):
    """Return samples of the flow and their classes: data may not be ours to give away."""
    from flowkit.tables import TableFlow

    if flow.num_classes is not None:
        labels = np.arange(_ROWS) % flow.num_classes
        return flow.sample(1, labels, temperature=temperature, seed=0)[0], labels
    if isinstance(flow, TableFlow):  # whose rows are frames
        return None, None
    if flow.dequantize is not None:
        return flow.sample(_ROWS, temperature=temperature, seed=0), None
    # Rows whose density depends least on the last digits of their numbers: engines agree on it.
    rows = np.asarray(flow.sample(4 * _ROWS, temperature=temperature, seed=0))
    score, moved = flow.log_prob(rows), flow.log_prob(np.nextafter(rows, np.inf, dtype=rows.dtype))
    return rows[np.sort(np.argsort(np.abs(moved / score - 1), kind="stable")[:_ROWS])], None


def without_folder(source):
    """Return the last part of a path, without the folders of this machine, and a name as it is."""
    text = str(source)
    return PurePath(text).name if Path(text).is_absolute() else text
