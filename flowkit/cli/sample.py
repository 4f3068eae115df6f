"""`flowkit sample`: a picture of what a flow has learned."""

from flowkit.cli.trained import trained
from flowkit.training import sample_grid, save_png


def run(path, *, count, temperature, output, seed):
    folder = trained(path)
    recipe, flow = folder.recipe(), folder.load_flow()
    output = output or folder.path / "grid.png"
    if temperature is None:
        temperature = recipe.sampling.temperature
    elif len(temperature) == 1:
        temperature = temperature[0]
    grid = sample_grid(
        flow,
        count,
        classes=recipe.model.get("num_classes"),
        temperature=temperature,
        seed=seed,
        levels=flow.dequantize.stored_levels,
    )
    save_png(output, grid)
    print(f"samples {output}")
