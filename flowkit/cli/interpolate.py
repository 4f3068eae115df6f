"""`flowkit interpolate`: from one image to another through the space of latents."""

import numpy as np

from flowkit import latent
from flowkit.cli.failure import CommandError
from flowkit.cli.strip import read_images, save_strip
from flowkit.cli.trained import trained


def run(run, first, second, *, output, steps, path, label):
    folder = trained(run)
    classes, flow = folder.recipe().model.get("num_classes"), folder.load_flow()
    if classes is not None and not (label is not None and 0 <= label < classes):
        received = "none" if label is None else label
        raise CommandError(
            f"--label: the flow is class-conditional, expected 0..{classes - 1}, received {received}"
        )
    if classes is None and label is not None:
        raise CommandError(f"--label: the flow knows no classes, expected none, received {label}")
    x0, x1 = (read_images([name], flow) for name in (first, second))
    context = None if classes is None else np.array([label])
    images = latent.interpolate(flow, x0, x1, steps, context=context, path=path)
    output = output or folder.path / "strip.png"
    save_strip(output, images, flow)
    print(f"interpolation {output}")
