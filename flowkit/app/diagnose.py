"""`flowkit diagnose`: the quality of a trained flow in sentences, figures and numbers."""

from pathlib import Path
from typing import Annotated

import numpy as np
from typer import Option

import flowkit
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Data, Json, Run, Seed, Source, new_folder, one_of_both


def diagnose(
    run: Run,
    data: Source = None,
    data_: Data = None,
    output: Annotated[Path | None, new_folder("Folder to write. Default: RUN/diagnostics.")] = None,
    rows: Annotated[int, Option(min=2, help="At most so many test images, or rows of a table.")] = 1000,
    samples: Annotated[int, Option(min=100, help="Samples to compare with.")] = 1000,
    outside: Annotated[str | None, Option(metavar="SOURCE", help="Data of another kind.")] = None,
    background: Annotated[
        str | None, Option(metavar="RUN", help="A flow of more general data, to compare likelihoods with.")
    ] = None,
    seed: Seed = 0,
    json_: Json = False,
    backend: Backend = None,
):
    """Report whether a flow is any good: latents, coverage, round trips, memorisation, other data."""
    data = one_of_both(data, data_, "data")
    use(backend)
    from flowkit.app.trained import data_of, kind_of_flow, loaded

    folder, flow = loaded(run)
    kind = kind_of_flow(flow, run)
    test, train = (kind.given(flow, data_of(folder, flow, split, data)) for split in ("test", "train"))
    other = None if background is None else loaded(background)[1]
    x, context = _some(*test, rows, seed)
    strange, labels = (None, None) if outside is None else _some(*kind.outside(flow, outside), rows, seed)
    found = flowkit.diagnostics.report(
        flow,
        x,
        context,
        train=None if folder.recipe() is None else train[0],
        train_context=train[1],
        outside=strange,
        outside_context=labels,
        background=other,
        samples=samples,
        seed=seed,
    )
    place = found.save(output or folder.path / "diagnostics")
    text = (place / "diagnostics.json").read_text(encoding="utf-8").rstrip()
    print(text if json_ else f"{found}\ndiagnostics {place}")


def _some(x, context, rows, seed):
    """Return at most `rows` rows and their context, in their order, from anywhere: those of a file may be sorted."""
    kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:rows])
    return x[kept], None if context is None else context[kept]
