"""`flowkit diagnose`: is a trained flow any good, and what is in it; as sentences, figures and numbers."""

import numpy as np

from flowkit import data, diagnostics, recipes
from flowkit.cli.evaluate import check_fits
from flowkit.cli.failure import CommandError
from flowkit.cli.table_run import in_order
from flowkit.cli.trained import trained
from flowkit.flows.context import context_kind


def run(path, *, source, output, rows, samples, outside, background, seed):
    folder = trained(path)
    flow = folder.load_flow()
    lone = not folder.has_recipe()
    if len(flow.event_shape) > 1 and flow.dequantize is None:
        raise CommandError(
            f"{path}: the flow takes continuous values, and images of a file do not say how they were brought to its "
            "scale: flowkit.diagnostics.report(flow, x) takes them as the flow was trained on them"
        )
    if context_kind(flow) == "required" and flow.num_classes is None:
        raise CommandError(
            f"{path}: the flow reads a context that is no label: flowkit.diagnostics.report(flow, x, context) takes one"
        )
    if lone and source is None:
        raise CommandError(
            f"{path}: a flow alone does not say what data it is of: --data SOURCE gives a data set that it was not "
            "trained on, by name or path"
        )
    recipe = None if lone else folder.recipe(source)
    other = None if background is None else trained(background).load_flow()
    (x, context), (train, _) = (_rows(flow, recipe, source, split) for split in ("test", "train"))
    if other is not None and other.event_shape != flow.event_shape:
        raise CommandError(
            f"--background {background}: expected a flow of events {flow.event_shape}, received one of "
            f"{other.event_shape}"
        )
    strange, strange_labels = (None, None) if outside is None else _outside(flow, outside)
    kept = _some(len(x), rows, seed)
    if strange is not None:
        some = _some(len(strange), rows, seed)
        strange, strange_labels = strange[some], None if strange_labels is None else strange_labels[some]
    found = diagnostics.report(
        flow,
        x[kept],
        None if context is None else context[kept],
        train=None if lone else train,
        outside=strange,
        outside_context=strange_labels,
        background=other,
        samples=samples,
        seed=seed,
    )
    print(found)
    print(f"diagnostics {found.save(output or folder.path / 'diagnostics')}")


def _rows(flow, recipe, source, split):
    """(rows, labels or None) of a split as the flow takes them."""
    if len(flow.event_shape) == 1 and flow.dequantize is None:
        table = data.load_table(source, split) if recipe is None else recipes.load_table(recipe, split)
        return in_order(flow, table), None
    dataset = _images(flow, source, split) if recipe is None else recipes.load_data(recipe, split)
    check_fits(flow, dataset)
    return dataset.images, _labels(flow, dataset)


def _outside(flow, source):
    """Data of another kind, brought to the size and the levels of the flow's own."""
    if len(flow.event_shape) == 1 and flow.dequantize is None:
        return in_order(flow, data.load_table(source, "test")), None
    dataset = _images(flow, source, "test")
    top = flow.dequantize.stored_levels - 1
    images = np.round(dataset.images.astype("float64") * top / (dataset.levels - 1)).astype("uint8")
    if context_kind(flow) != "required":
        return images, None
    # Of other data no class is right: each row is given one by chance.
    return images, np.random.default_rng(0).integers(0, flow.num_classes, len(images))


def _images(flow, source, split):
    if len(flow.event_shape) != 3:
        raise CommandError(
            f"expected a flow of images or of tables, received one of events {flow.event_shape}"
        )
    height, width, channels = flow.event_shape
    return data.load(source, split, size=(height, width), channels=channels)


def _labels(flow, dataset):
    if context_kind(flow) != "required":
        return None
    if dataset.labels is None:
        raise CommandError(f"{dataset.name} has no labels, and the flow is class-conditional")
    return dataset.labels


def _some(count, rows, seed):
    """Places of at most so many rows, in their order: those of a file may be sorted."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:rows])
