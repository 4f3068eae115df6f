"""`flowkit preset RUN FOLDER`: a finished run becomes a preset, every number of which is the run's own."""

import json
from pathlib import Path, PurePath

import numpy as np

from flowkit import recipes
from flowkit.cli.failure import CommandError
from flowkit.cli.run_folder import RunFolder

_ROWS = 16  # kept with what log_prob says of them
_PLACES = {"platform", "python", "numpy"}  # of metrics.json, what says more of a machine than of the flow


def run(path, folder, *, license, description):
    source = RunFolder(path)
    recipe, flow = source.recipe(), source.load_flow()
    measured = _measured(source)
    table = recipe.data.model_copy(update={"source": _without_folder(recipe.data.source)})
    recipe = recipe.model_copy(update={"data": table})
    extra = {"recipe.toml": recipes.dumps(recipe).encode()}
    if source.samples.is_file():
        extra["samples.png"] = source.samples.read_bytes()
    about = {
        "license": license,
        "description": description,
        "data": {"name": _without_folder(measured.pop("data")), "sha256": measured.pop("data_sha256", None)},
        "measured": measured,
    }
    rows, context = _rows(flow, recipe.sampling.temperature)
    about = {key: value for key, value in about.items() if value is not None}
    flow.save_to_preset(folder, rows=rows, context=context, about=about, extra=extra)
    print(f"preset {folder}")


def _measured(run):
    if not run.metrics.is_file():
        raise CommandError(
            f"{run.path} holds no metrics.json: training has not come to its end; `flowkit train` goes on with --resume"
        )
    try:
        measured = json.loads(run.metrics.read_text(encoding="utf-8"))
        measured = {name: value for name, value in measured.items() if name not in _PLACES}
        measured["data"]  # what a run always says
    except (ValueError, AttributeError, KeyError) as error:
        raise CommandError(
            f"{run.metrics}: expected what `flowkit train` writes, received something else"
        ) from error
    return measured


def _rows(flow, temperature):
    """Samples of the flow and the classes they are given: data of its own may be another's to give away."""
    if flow.dequantize is None and flow.num_classes is None:
        return _steady(flow, np.asarray(flow.sample(4 * _ROWS, temperature=temperature, seed=0))), None
    if flow.num_classes is None:
        return flow.sample(_ROWS, temperature=temperature, seed=0), None
    labels = np.arange(_ROWS) % flow.num_classes
    return flow.sample(1, labels, temperature=temperature, seed=0)[0], labels


def _steady(flow, rows):
    """Those whose density the last digits of their numbers decide least: of others two engines say two things."""
    score, moved = flow.log_prob(rows), flow.log_prob(np.nextafter(rows, np.inf, dtype=rows.dtype))
    return rows[np.sort(np.argsort(np.abs(moved / score - 1), kind="stable")[:_ROWS])]


def _without_folder(source):
    """Where on a machine its data lay is nobody's business: the last part of a path, and names as they are."""
    text = str(source)
    return PurePath(text).name if Path(text).is_absolute() else text
