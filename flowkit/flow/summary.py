"""The parts of a flow as a table: its levels, its steps, their latents, weights and promises."""

import io
import math
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from flowkit._printable import printable
from flowkit.bijectors import MultiScale, Repeat
from flowkit.contract.configured import in_call
from flowkit.contract.inside import layers_inside
from flowkit.contract.shapes import as_tuple

_KINDS = {"exact": "exact", "estimated": "estimate", "bound": "bound", "estimated bound": "bound, estimated"}
_LOG_DETS = {"zero": "0", "constant": "constant", "varying": ""}
_KEPT = {
    "stored": "all activations",
    "recompute": "the input of each part",
    "reversible": "the ends of each chain",
}


@dataclass(frozen=True)
class Row:
    """One line of the table: a part, or the `times` copies of it in a `Repeat`, with the parameters of all of them."""

    level: str
    part: str
    times: int
    shape: tuple[Any, ...] | None
    parameters: int
    log_det: str = ""
    inverse: str = ""
    trainable: str = "-"


def rows(flow: Any, expand_nested: bool = False) -> list[Row]:
    """Return the parts of a built flow in their order; for the copies of a `Repeat` the first, and their number.

    >>> from flowkit import zoo
    >>> [(row.part, row.times) for row in rows(zoo.residual(features=2, layers=3))][:2]
    [('LinearGaussian()', 1), ('ActNorm(1.0)', 3)]
    """
    shape = (None, *flow.event_shape)
    found: list[Row] = []
    if flow.embedding is not None:
        found.append(Row("", in_call(flow.embedding, 2), 1, None, **_weights_of(flow.embedding)))
    if flow.dequantize is not None:
        found.append(_row("", flow.dequantize, shape))
    found += _of(flow.bijector, shape, "", expand_nested)
    latents = as_tuple(flow.bijector.compute_output_shape(shape))[1:]
    found.append(Row("", in_call(flow.base, 2), 1, latents, **_weights_of(flow.base)))
    return found


def table(flow: Any, expand_nested: bool = False, show_trainable: bool = False) -> Table:
    """Return `rows` as a rich table, with totals below."""
    title = f'Flow "{printable(flow.name)}"'
    if flow.event_shape is None:
        made = Table(title=title, caption="Not built: flow.build((None, ...)) makes its weights.")
        made.add_column("part")
        made.add_row(in_call(flow))
        return made
    made = Table(title=f"{title}, of events {_shown(flow.event_shape)}", caption=_caption(flow))
    found = rows(flow, expand_nested)
    level, trainable = ["level"] * any(row.level for row in found), ["trainable"] * show_trainable
    for name in (*level, "part", "gives", "parameters", *trainable, "log-det", "inverse"):
        right = name in ("level", "gives", "parameters")
        made.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in found:
        times = f"{row.times} x " if row.times > 1 else ""
        shape = "" if row.shape is None else _shown(row.shape)
        count = f"{row.parameters:,}" if row.parameters else ""
        own = [row.level] * len(level), [row.trainable] * len(trainable)
        made.add_row(*own[0], printable(times + row.part), shape, count, *own[1], row.log_det, row.inverse)
    return made


def show(flow: Any, line_length: int | None, print_fn: Any, **options: bool) -> None:
    """Print the table, or pass its text to `print_fn`."""
    made = table(flow, **options)
    if print_fn is None:
        Console(width=line_length, markup=False).print(made)  # a name may look like markup
        return
    text = io.StringIO()
    Console(width=line_length or 120, file=text, markup=False).print(made)
    print_fn(text.getvalue())


def as_html(flow: Any) -> str:
    """Return the table for a notebook."""
    console = Console(record=True, file=io.StringIO(), width=120, markup=False)
    console.print(table(flow))
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _of(part, shape, level, expand):
    """Return the rows of a part for data of `shape`: for a composite those of its parts."""
    if isinstance(part, MultiScale):
        return _levels(part, shape, expand)
    if isinstance(part, Repeat):
        found = _of(part.block, shape, level, expand)
        if not part.trainable:  # which the block does not know
            found = [replace(row, parameters=0, trainable=row.trainable.replace("Y", "N")) for row in found]
        if expand:
            return found * part.n
        return [replace(row, times=row.times * part.n, parameters=row.parameters * part.n) for row in found]
    if not part.composite or not hasattr(part, "parts"):
        return [_row(level, part, shape)]
    found = []
    for one in part.parts:
        found += _of(one, shape, level, expand)
        shape = as_tuple(one.compute_output_shape(shape))
    return found


def _levels(multiscale, shape, expand):
    found = []
    priors = [*multiscale.priors, multiscale.top_prior]
    levels = zip(multiscale.scales, priors, multiscale.latent_events, strict=True)
    for number, (scale, prior, event) in enumerate(levels):
        found += _of(scale, shape, str(number), expand)
        shape = as_tuple(scale.compute_output_shape(shape))
        name = "no prior" if prior is None else f"prior {in_call(prior, 1)}"
        leaving = f"{name}: {math.prod(event)} latents leave"
        kind = "" if prior is None else "exact"
        found.append(Row(str(number), leaving, 1, tuple(event), log_det=kind, **_weights_of(prior)))
        shape = (*shape[:-1], shape[-1] - event[-1])
    return found


def _row(level, part, shape):
    spec = part.spec
    log_det = ", ".join(filter(None, [_KINDS[spec.likelihood], _LOG_DETS[spec.log_det]]))
    gives = as_tuple(part.compute_output_shape(shape))[1:]
    return Row(level, in_call(part, 3), 1, gives, log_det=log_det, inverse=spec.inverse, **_weights_of(part))


def _caption(flow):
    latents = math.prod(as_tuple(flow.bijector.compute_output_shape((None, *flow.event_shape)))[1:])
    others = sum(math.prod(weight.shape) for weight in flow.non_trainable_weights)
    size = sum(math.prod(weight.shape) * (8 if weight.dtype == "float64" else 4) for weight in flow.weights)
    ways = {layer.backprop for layer in layers_inside(flow.bijector) if hasattr(layer, "backprop")}
    kept = [f"{_KEPT[way]} ({way})" for way in sorted(ways)]
    article = {"exact": "exact", "estimate": "an estimate", "bound": "a bound"}[flow.exact]
    lines = [
        f"{latents:,} latents, {_count(flow):,} parameters to train, {others:,} others, {decimal(size)}",
        *([f"kept for the backward pass: {'; '.join(kept)}"] if kept else []),
        f"log_prob is {article}",
    ]
    return "\n".join(lines)


def _count(layer):
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def _weights_of(layer):
    """Return the entries of a row on weights; a layer is trainable as Keras's summaries say."""
    if layer is None or not layer.weights:
        return {"parameters": 0}
    return {"parameters": _count(layer), "trainable": "Y" if layer.trainable else "N"}


def _shown(shape):
    return " x ".join("?" if size is None else str(size) for size in shape)
