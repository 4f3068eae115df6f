"""`flowkit interpolate`: z(t) = (1 - t) z(a) + t z(b), decoded."""

import numpy as np
from PIL import Image, UnidentifiedImageError

from flowkit.cli.failure import CommandError
from flowkit.cli.run_folder import RunFolder
from flowkit.training import image_grid, save_png


def run(path, first, second, *, output, steps, label):
    folder = RunFolder(path)
    classes, flow = folder.recipe().model.get("num_classes"), folder.load_flow()
    if classes is not None and not (label is not None and 0 <= label < classes):
        received = "none" if label is None else label
        raise CommandError(
            f"--label: the flow is class-conditional, expected 0..{classes - 1}, received {received}"
        )
    levels = flow.dequantize.stored_levels
    ends = np.stack([read_image(name, flow.event_shape, levels) for name in (first, second)])
    context = None if classes is None else np.full(steps, label)
    z = flow.encode(ends, None if context is None else context[:2])
    t = np.linspace(0, 1, steps, dtype=z.dtype)[:, None]
    images = flow.decode((1 - t) * z[:1] + t * z[1:], context)
    output = output or folder.path / "strip.png"
    save_png(output, image_grid(images, columns=steps, levels=levels))
    print(f"interpolation {output}")


def read_image(path, shape, levels):
    """An image file as the flow takes it: its size, grey or colour, values 0..levels-1."""
    height, width, channels = shape
    if channels not in (1, 3):
        raise CommandError(f"the flow's images have {channels} channels: expected 1 or 3")
    try:
        with Image.open(path) as image:
            image = image.convert("L" if channels == 1 else "RGB")
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BOX)
            pixels = np.asarray(image).reshape(shape)
    except UnidentifiedImageError:
        raise CommandError(f"{path}: expected an image, found something else") from None
    return np.round(pixels.astype("float64") * (levels - 1) / 255).astype("uint8")
