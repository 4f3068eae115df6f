"""Draw docs/_static/noise-to-data.webp and samples.png: latents become clothes, step by step of the shipped Glow.

python docs/_static/noise_to_data.py
"""

from pathlib import Path

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import numpy as np
from PIL import Image

from flowkit.bijectors import Squeeze
from flowkit.training import ImageGrid

FOLDER = Path(__file__).parent
COLUMNS, ROWS, ZOOM = 8, 3, 3
TEMPERATURE, GREYS = 0.6, 16
PAUSE, STEP, HOLD = 700, 90, 2600  # milliseconds


def stages(flow, z):
    """Return latents, what each step of the flow makes of them, and at last the images, as maps (n, 28, 28, 1)."""
    unsqueeze = Squeeze().inverse
    first, second = flow.bijector.scales
    x, _ = flow.bijector.inverse(z)
    outer = steps(first, x)
    kept, left = keras.ops.split(outer[-1], 2, axis=-1)
    whole = [(inner, left) for inner in steps(second, kept)] + [flow.bijector.split_latents(z)[::-1]]
    outer += [keras.ops.concatenate([unsqueeze(kept)[0], left], axis=-1) for kept, left in whole]
    maps = [x, *(unsqueeze(one)[0] for one in outer)]
    return [keras.ops.convert_to_numpy(one) for one in reversed(maps)]


def steps(scale, x):
    """Return the output of each step of a scale: a squeeze, then copies of actnorm, 1x1 convolution and coupling."""
    squeeze, repeat = scale.parts
    x, outputs = squeeze(x)[0], []
    for step in repeat.copies():
        x, _ = step(x)
        outputs.append(x)
    return outputs


def grey(values):
    """Stretch a map to 0..255 between two of its quantiles, in few greys, so that the file is small."""
    low, high = np.quantile(values, [0.01, 0.99])
    return (np.round(np.clip((values - low) / (high - low), 0, 1) * (GREYS - 1)) * 255 / (GREYS - 1)).astype(
        "uint8"
    )


def frame(images):
    """Return images side by side, three times as large: README shows the file at its own size."""
    small = Image.fromarray(ImageGrid(images, columns=COLUMNS, padding=0).pixels)
    return small.resize((ZOOM * small.width, ZOOM * small.height), Image.Resampling.NEAREST)


def main():
    flow = flowkit.zoo.load("glow/fashion-mnist-full")
    z = np.random.default_rng(0).normal(0, TEMPERATURE, (COLUMNS * ROWS, 784)).astype("float32")
    *others, images = stages(flow, keras.ops.convert_to_tensor(z))
    last = frame(np.clip((images + 0.5) * 256, 0, 255).astype("uint8"))
    first, *others = [frame(grey(one)) for one in others]
    path = FOLDER / "noise-to-data.webp"
    durations = [PAUSE, *[STEP] * len(others), HOLD]
    first.save(
        path, save_all=True, append_images=[*others, last], duration=durations, lossless=True, method=6
    )
    last.save(FOLDER / "samples.png", optimize=True)
    print(len(durations), "frames,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
