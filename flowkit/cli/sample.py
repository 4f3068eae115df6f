"""`flowkit sample`: a picture of what a flow has learned; of a table, more rows of it."""

import numpy as np

from flowkit import distributed, recipes
from flowkit.cli.failure import CommandError
from flowkit.cli.group import alike, on_main
from flowkit.cli.table_run import save_samples
from flowkit.cli.trained import trained_in_all
from flowkit.distributed.lost import naming_the_lost
from flowkit.training import enlarged, sample_grid, save_png


def _of_tables(flow, path):
    """Whether a flow draws rows of a table, and not stored images. Raises a CommandError if neither."""
    if flow.event_shape is None:
        raise CommandError(
            f"{path}: expected a flow of known size, got one that was not built: build it, then save it"
        )
    if flow.dequantize is None and len(flow.event_shape) != 1:
        shape = "x".join(map(str, flow.event_shape))
        raise CommandError(
            f"{path}: expected a flow of stored images or of tables, received one of events {shape}"
        )
    return flow.dequantize is None


def run(path, *, count, temperature, output, seed, zoom):
    with naming_the_lost():
        folder = trained_in_all(path)
        flow, output, temperature = alike(lambda: _asked(folder, path, temperature, output, zoom))
        how = {"temperature": temperature, "seed": seed, "spread": True}
        if flow.dequantize is None:
            rows = np.asarray(flow.sample(count, **how))
            on_main(lambda: save_samples(output, rows, flow.columns and flow.columns.names))
        else:
            levels = flow.dequantize.stored_levels
            grid = sample_grid(flow, count, classes=flow.num_classes, levels=levels, **how)
            on_main(lambda: save_png(output, enlarged(grid, zoom)))
    if distributed.is_main():
        print(f"samples {output}")


def _asked(folder, path, temperature, output, zoom):
    """(the flow, where its samples go, their temperature). Raises a CommandError for options that do not fit it."""
    flow, recipe = (None, folder.recipe()) if folder.has_recipe() else (folder.load_flow(), None)
    table = _of_tables(flow, path) if recipe is None else recipes.of_tables(recipe)
    output = output or folder.path / ("samples.csv" if table else "grid.png")
    wanted = ".csv" if table else ".png"
    if output.suffix.lower() != wanted:
        raise CommandError(f"--output: expected a name that ends in {wanted}, received {output}")
    if table and zoom is not None:
        raise CommandError(f"--zoom: expected a flow of images, {path} is one of tables")
    flow = flow or folder.load_flow()
    if temperature is None:
        temperature = 1.0 if recipe is None else recipe.sampling.temperature
    elif len(temperature) == 1:
        temperature = temperature[0]
    return flow, output, temperature
