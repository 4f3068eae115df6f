"""Cut a folder of photographs into small squares: `python -m flowkit.data.cut_photos FOLDER -o photos32.npz`.

For natural images without a data set. The squares are cut at random out of each photograph averaged
down to a shorter side of 512 and of 256 pixels, which removes the blocks that JPEG leaves. Test squares come
from photographs that no training square touches: those in sub-folders `train` and `test`, else a tenth by
a hash of their names. Bits/dim depend on the photographs: compare only numbers of the same file.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from flowkit.data.image_file import read_image
from flowkit.data.image_folder import image_names

SIDES = (512, 256)  # of the shorter side; one half of the squares each


def cut(folder, split, count, size=32, seed=0):
    """Return `count` squares, uint8 `(count, size, size, 3)`, about as many of each photograph, in random order.

    Raises:
        FileNotFoundError: if there are no images.
        ValueError: if an image cannot be read or is smaller than a square, or a split would be empty.
    """
    root, names, _ = image_names(Path(folder), split)
    # Sorted, since the order of the names is random, and the seed should decide alone.
    photographs = [averaged(root / name, side) for name in sorted(names) for side in SIDES]
    rng = np.random.default_rng((seed, split == "test"))
    images = np.empty((count, size, size, 3), np.uint8)
    for position, which in zip(rng.permutation(count), np.arange(count) % len(photographs), strict=True):
        pixels = photographs[which]
        if min(pixels.shape[:2]) < size:
            height, width = pixels.shape[:2]
            raise ValueError(
                f"{folder}: expected photographs of {size}x{size} or more, one has {width}x{height}."
            )
        row, column = (rng.integers(length - size, endpoint=True) for length in pixels.shape[:2])
        images[position] = pixels[row : row + size, column : column + size]
    return images


def averaged(path, side):
    """Return the photograph as uint8 pixels with a shorter side of `side`; a smaller one is unchanged."""
    pixels = read_image(path, None, 3)
    height, width = pixels.shape[:2]
    factor = side / min(height, width)
    if factor >= 1:
        return pixels
    shape = (round(width * factor), round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BOX))


def main(
    folder: Path,
    output: Annotated[Path, typer.Option("-o", "--output")] = Path("photos32.npz"),
    train: Annotated[int, typer.Option(help="Squares to train on.")] = 50_000,
    test: Annotated[int, typer.Option(help="Squares to test with.")] = 10_000,
    size: Annotated[int, typer.Option(help="Side of a square.")] = 32,
    seed: int = 0,
) -> None:
    """Cut a folder of photographs into small squares."""
    counts = {"train": train, "test": test}
    try:
        arrays = {f"{split}_images": cut(folder, split, count, size, seed) for split, count in counts.items()}
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    np.savez(output, **arrays)
    print(f"{output}: {train} + {test} squares of {size}x{size}")


if __name__ == "__main__":
    typer.run(main)
