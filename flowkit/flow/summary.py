"""What is in a flow, as a table: its levels, its steps, their latents, weights and promises."""

import io
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from flowkit.bijectors import Repeat
from flowkit.contract.one_line import argument
from flowkit.contract.shapes import as_tuple

_KINDS = {"exact": "exact", "estimated": "estimate", "bound": "bound", "estimated bound": "bound, estimated"}
_LOG_DETS = {"zero": "0", "constant": "constant", "varying": ""}
_BYTES = {"float64": 8}


@dataclass(frozen=True)
class Row:
    """One line of the table: a part, or as many as `times` that are alike.

    `parameters` are those of all of them; `kept` is what the chain around them keeps for the backward pass.
    """

    level: str
    part: str
    times: int
    shape: tuple[Any, ...] | None
    parameters: int
    log_det: str
    inverse: str
    kept: str


def rows(flow: Any, expand_nested: bool = False) -> list[Row]:
    """The parts of a built flow in their order; of alike blocks the first, and how often it comes.

    >>> from flowkit import zoo
    >>> [(row.part, row.times) for row in rows(zoo.residual(features=2, layers=3))][:2]
    [('Standardize()', 1), ('ActNorm(1.0)', 3)]
    """
    shape = (None, *flow.event_shape)
    found: list[Row] = []
    if flow.dequantize is not None:
        found.append(_row("", flow.dequantize, shape, 1, ""))
    found += _of(flow.bijector, shape, "", "", expand_nested)
    latents = as_tuple(flow.bijector.compute_output_shape(shape))
    base = argument(flow.base, 2)
    found.append(Row("", base, 1, latents[1:], _count(flow.base), "", "", ""))
    if flow.embedding is not None:
        found.insert(0, Row("", argument(flow.embedding, 2), 1, None, _count(flow.embedding), "", "", ""))
    return found if expand_nested else _together(found)


def _together(found):
    """Rows that say the same one after the other as one; what a chain keeps stands in its first."""
    told: list[Row] = []
    for row in found:
        last = told[-1] if told else None
        if last and row == replace(last, times=1, parameters=last.parameters // last.times, kept=row.kept):
            told[-1] = replace(last, times=last.times + 1, parameters=last.parameters + row.parameters)
        else:
            told.append(row)
    return told


def table(flow: Any, expand_nested: bool = False) -> Table:
    """`rows` as a rich table, with what all of it comes to below."""
    if flow.event_shape is None:
        told = Table(
            title=f'Flow "{flow.name}"', caption="Not built: flow.build((None, ...)) makes its weights."
        )
        told.add_column("part")
        told.add_row(argument(flow))
        return told
    told = Table(title=f'Flow "{flow.name}", of events {_shown(flow.event_shape)}')
    found = rows(flow, expand_nested)
    solved = any(row.inverse not in ("", "analytic") for row in found)
    levels = any(row.level for row in found)
    if levels:
        told.add_column("level", justify="right")
    told.add_column("part", overflow="fold")
    told.add_column("gives", justify="right", no_wrap=True)
    told.add_column("parameters", justify="right", no_wrap=True)
    told.add_column("log-det")
    if solved:
        told.add_column("inverse")
    level = ""
    for row in found:
        if row.level != level:
            told.add_section()
            level = row.level
        times = f"{row.times} x " if row.times > 1 else ""
        told.add_row(
            *([row.level] if levels else []),
            times + row.part,
            "" if row.shape is None else _shown(row.shape),
            f"{row.parameters:,}" if row.parameters else "",
            row.log_det,
            *([row.inverse] if solved else []),
        )
    told.caption = _caption(flow, found)
    return told


def show(flow: Any, line_length: int | None, print_fn: Any, expand_nested: bool) -> None:
    """Print the table, or hand its text to `print_fn`."""
    made = table(flow, expand_nested)
    if print_fn is None:
        Console(width=line_length).print(made)
        return
    console = Console(width=line_length or 120, file=io.StringIO())
    console.print(made)
    print_fn(console.file.getvalue())


def _of(part, shape, level, kept, expand):
    """The rows of a part that is given data of `shape`: of a composite those of its parts."""
    if hasattr(part, "run_levels") and hasattr(part, "scales"):
        return _levels(part, shape, expand)
    if isinstance(part, Repeat):
        first, *more = _of(part.block, shape, level, kept, expand)
        # The chain around it says what is kept, in its first row.
        rows = [replace(first, kept=kept), *(replace(row, kept="") for row in more)]
        return rows * part.n if expand else [_times(row, part.n) for row in rows]
    if not part.composite or not hasattr(part, "parts"):
        return [_row(level, part, shape, 1, kept)]
    found = []
    kept = _kept(part, shape)  # told once, in the first row of the chain
    for one in part.parts:
        found += _of(one, shape, level, kept, expand)
        kept = ""
        shape = as_tuple(one.compute_output_shape(shape))
    return found


def _levels(multiscale, shape, expand):
    found = []
    priors = [*multiscale.priors, multiscale.top_prior]
    for number, (scale, prior, event) in enumerate(
        zip(multiscale.scales, priors, multiscale.latent_events, strict=True)
    ):
        level = str(number)
        found += _of(scale, shape, level, "", expand)
        shape = as_tuple(scale.compute_output_shape(shape))
        name = "no prior" if prior is None else f"prior {argument(prior, 1)}"
        latents = f"{name}: {math.prod(event)} latents leave"
        found.append(
            Row(level, latents, 1, tuple(event), _count(prior), "" if prior is None else "exact", "", "")
        )
        shape = (*shape[:-1], shape[-1] - event[-1])
    return found


def _row(level, part, shape, times, kept):
    spec = part.spec
    log_det = ", ".join(filter(None, [_KINDS[spec.likelihood], _LOG_DETS[spec.log_det]]))
    gives = as_tuple(part.compute_output_shape(shape))[1:]
    return Row(level, argument(part, 3), times, gives, _count(part), log_det, spec.inverse, kept)


def _times(row, times):
    return Row(**{**vars(row), "times": row.times * times, "parameters": row.parameters * times})


def _kept(chain, shape):
    """What a chain keeps of each sample for the backward pass, in words."""
    backprop = getattr(chain, "backprop", "stored")
    if backprop == "stored":
        return "all activations"
    size = _BYTES.get(chain.compute_dtype, 4)
    numbers = [math.prod(shape[1:])]
    for part in chain.parts:
        shape = as_tuple(part.compute_output_shape(shape))
        numbers.append(math.prod(shape[1:]))
    kept = numbers[0] + numbers[-1] if backprop == "reversible" else sum(numbers[:-1])
    what = "the ends of the chain" if backprop == "reversible" else "what each part is given"
    return f"{what}, {_memory(kept * size)} a sample ({backprop})"


def _memory(count):
    for unit in ("B", "KB", "MB"):
        if count < 1000:  # of three digits at most
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GB"


def _count(layer):
    return 0 if layer is None else sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)


def _shown(shape):
    return " x ".join("?" if size is None else str(size) for size in shape)


def _caption(flow, found):
    trained = _count(flow)
    fixed = sum(int(np.prod(w.shape)) for w in flow.non_trainable_weights)
    size = sum(int(np.prod(w.shape)) * _BYTES.get(w.dtype, 4) for w in flow.weights)
    latents = as_tuple(flow.bijector.compute_output_shape((None, *flow.event_shape)))[1:]
    article = {"exact": "exact", "estimate": "an estimate", "bound": "a bound"}[flow.exact]
    kept = [f"level {row.level}: {row.kept}" if row.level else row.kept for row in found if row.kept]
    if len({row.kept for row in found if row.kept}) == 1:
        kept = [next(row.kept for row in found if row.kept)]
    lines = [
        f"{math.prod(latents):,} latents, {trained:,} parameters to train, {fixed:,} others, {_memory(size)}",
        *([f"kept for the backward pass: {'; '.join(kept)}"] if kept else []),
        f"log_prob is {article}",
    ]
    return "\n".join(lines)
