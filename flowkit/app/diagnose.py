"""`flowkit diagnose`: whether a trained flow is any good, as sentences, figures and numbers."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from flowkit.app.engine import use
from flowkit.app.failure import CommandError
from flowkit.app.options import Backend, Data, Run, new_folder


def diagnose(
    run: Run,
    data: Data = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The folder to write. Default: diagnostics, in that of the run.",
            callback=new_folder,
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=2, help="At most so many test images, or rows of a table.")] = 1000,
    samples: Annotated[int, typer.Option(min=100, help="How many samples are drawn to compare with.")] = 1000,
    outside: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Data of another kind, that should be told apart.")
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="A flow of more general data, which its likelihood is compared with."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")] = 0,
    backend: Backend = None,
):
    """Report whether a flow is any good: latents, coverage, round trips, memorisation, other data."""
    use(backend)
    from flowkit import diagnostics
    from flowkit.app.trained import data_of, kind_of_flow, trained

    folder = trained(run)
    flow, alone = folder.load_flow(), folder.recipe() is None
    kind = kind_of_flow(flow, run)
    _check(flow, run)
    test, train = (kind.given(flow, data_of(folder, flow, split, data)) for split in ("test", "train"))
    other = None if background is None else trained(background).load_flow()
    if other is not None and other.event_shape != flow.event_shape:
        raise CommandError(
            f"--background {background}: expected a flow of events {flow.event_shape}, received one of "
            f"{other.event_shape}"
        )
    x, context = _some(*test, rows, seed)
    strange, labels = (None, None) if outside is None else _some(*kind.outside(flow, outside), rows, seed)
    found = diagnostics.report(
        flow,
        x,
        context,
        train=None if alone else train[0],
        outside=strange,
        outside_context=labels,
        background=other,
        samples=samples,
        seed=seed,
    )
    print(found)
    print(f"diagnostics {found.save(output or folder.path / 'diagnostics')}")


def _check(flow, run):
    """Raise a CommandError for a flow that no data set of a file fits."""
    from flowkit.flow.context import context_kind

    if len(flow.event_shape) > 1 and flow.dequantize is None:
        raise CommandError(
            f"{run}: the flow takes continuous values, and images of a file do not say how they were brought to its "
            "scale: flowkit.diagnostics.report(flow, x) takes them as the flow was trained on them"
        )
    if context_kind(flow) == "required" and flow.num_classes is None:
        raise CommandError(
            f"{run}: the flow reads a context that is no label: flowkit.diagnostics.report(flow, x, context) takes one"
        )


def _some(x, context, rows, seed):
    """Return at most `rows` rows and their context, in their order, from anywhere: those of a file may be sorted."""
    kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:rows])
    return x[kept], None if context is None else context[kept]
