"""`flowkit evaluate`: bits per dimension on images that were not trained on."""

import math

from flowkit import recipes
from flowkit.cli.failure import CommandError
from flowkit.cli.run_folder import RunFolder


def run(path, *, source, samples):
    folder = RunFolder(path)
    recipe, flow = folder.recipe(), folder.load_flow()
    if source is not None:
        table = recipe.data.model_copy(update={"source": source})
        recipe = recipe.model_copy(update={"data": table})
    dataset = recipes.load_data(recipe, "test")
    mean, error = bits_per_dim(flow, dataset, recipe.model.get("num_classes"), samples=samples)
    draws = "1 draw of noise" if samples == 1 else f"{samples} draws of noise"
    print(f"test bits/dim {mean:.4f} +- {error:.4f}  ({dataset.name}, {len(dataset)} images, {draws} each)")


def bits_per_dim(flow, dataset, classes, *, samples=1):
    """The mean over images, and its standard error s / sqrt(n)."""
    stored = flow.dequantize.stored_levels if flow.dequantize is not None else None
    if stored is not None and dataset.levels != stored:
        raise CommandError(
            f"{dataset.name} has {dataset.levels} levels, the flow was trained on {stored}: bits/dim "
            "would mean something else"
        )
    bits = flow.bits_per_dim(dataset.images, None if classes is None else dataset.labels, samples=samples)
    return float(bits.mean()), float(bits.std(ddof=1) / math.sqrt(len(bits))) if len(bits) > 1 else math.nan
