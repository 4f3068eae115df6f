"""`flowkit evaluate`: bits per dimension of images that were not trained on; of tables, nats of such rows."""

from typing import Annotated

from typer import Option

import flowkit
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Data, Draws, Json, Run, Source, one_of_both, print_json
from flowkit.app.failure import together
from flowkit.app.wrong_rows import Strict, right_rows

_COUNTED = 64  # rows for which evaluations of a velocity field are counted


def evaluate(
    run: Run,
    data: Source = None,
    data_: Data = None,
    samples: Draws = 1,
    levels: Annotated[bool, Option("--levels", help="Also print the bits of each level.")] = False,
    strict: Strict = False,
    json_: Json = False,
    backend: Backend = None,
):
    """Print bits per dimension on the test split, with the standard error over images; of a table, nats.

    Rows of a table with an entry that the flow excludes, or a missing one in a column that had none in training, are
    skipped: the mean is that of the others, as flowkit score gives them.

    In several processes, torchrun -m flowkit evaluate ..., each scores its part.
    """
    data = one_of_both(data, data_, "data")
    use(backend, shares=True)
    from flowkit.app.images import mean_and_error
    from flowkit.app.trained import data_of, kind_of_flow, loaded

    folder, flow = loaded(run)
    with together():
        kind = kind_of_flow(flow, folder.name)
        # The test rows of the training data, wherever they lie now; of another table all rows, unless it has its own.
        test = kind.rows == "images" or data is None or _same_data(folder, flow, kind, data)
        if test:
            rows, wrong = data_of(folder, flow, "test", data), {}
        else:
            rows, _ = kind.rows_of(flow, data)
            scores, wrong = kind.scored(flow, data, kind.file_of(flow, data), samples)
            right = right_rows(wrong, len(scores), data, strict)
            rows, scores = rows.take(right), scores[right].astype("float64")
        x, context = kind.given(flow, rows)  # raises for other data
    mean, error = kind.mean_score(flow, x, context, samples) if test else mean_and_error(scores)
    found = {"data": rows.name, kind.rows: len(rows), kind.score: mean, "standard_error": error}
    if wrong:
        found["skipped"] = len(wrong)
    if not flowkit.distributed.is_main():
        return
    if (evaluations := _evaluations(flow, x, context)) is not None:
        found["function_evaluations"] = evaluations
    if levels:
        found["levels"] = flowkit.diagnostics.level_shares(flow, x, context).numbers
    if json_:
        print_json(found)
        return
    draws = f", {samples} draw{'s' * (samples > 1)} of noise each" * (kind.rows == "images")
    about = f"{rows.name}, {len(rows)} {kind.rows}{draws}"
    print(f"{'test ' * test}{kind.in_print} {mean:.4f} +- {error:.4f}{kind.unit}  ({about})")
    if evaluations is not None:
        print(f"{evaluations} evaluations of the velocity field for each batch")
    if levels:
        shares = found["levels"]
        sizes = shares["latents"]
        columns = zip(shares["bits_per_dim"], shares["standard_error"], sizes, strict=True)
        for level, (bits, error, size) in enumerate(columns):
            print(
                f"level {level}: {bits:.4f} +- {error:.4f} in {size} latents, {size / sum(sizes):.1%} of all"
            )


def _evaluations(flow, x, context):
    """Return how often a continuous flow calls its velocity field for a batch of some rows; None for other flows."""
    from keras import ops

    from flowkit.bijectors import Continuous
    from flowkit.flow import inputs
    from flowkit.flow.rows import middles

    parts = getattr(flow.bijector, "parts", [flow.bijector])
    last = max((place for place, part in enumerate(parts) if isinstance(part, Continuous)), default=None)
    if last is None:
        return None
    x, context = inputs.checked_and_embedded(
        flow, x[:_COUNTED], None if context is None else context[:_COUNTED]
    )
    y, total = ops.convert_to_tensor(middles(flow, x), dtype=flow.compute_dtype), 0
    for part in parts[:last]:
        total += part.evaluations(y, context) if isinstance(part, Continuous) else 0
        y, _ = part(y, context=context, noise=part.draw_noise(y.shape, seed=0))
    return total + parts[last].evaluations(y, context)


def _same_data(folder, flow, kind, source):
    """Return True if the table `source` is the one that the flow was trained on: that file, or another alike."""
    from flowkit.app.experiment import load

    recipe, own = folder.recipe(source), folder.recipe()
    if recipe is None or recipe == own or isinstance(flow, flowkit.TableFlow):
        return recipe is not None and recipe == own
    splits = ["train", "validation", "test"] if recipe.data.validation else ["train", "test"]
    try:
        tables = [kind.ordered(flow, load(recipe, split)) for split in splits]
    except ValueError:  # fewer rows than can be cut as those were, or other columns
        return False
    return folder.data_sha256 == flowkit.data.content_hash(*tables)
