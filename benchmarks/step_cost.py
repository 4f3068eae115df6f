"""What a training step costs on n devices, each of which holds all weights; and a forecast for the published Glow.

    python benchmarks/step_cost.py     # the forecast of docs/scaling.md, from the assumptions below

    t(n) = compute(batch / n) + messages * all_reduce(n, bytes / messages)
    compute(b) = fixed + b * per_image
    all_reduce(n, bytes) = latency * hops(n) + 2 (n - 1) / n * bytes / bandwidth

A ring hands each byte on 2 (n - 1) / n times, in 2 (n - 1) hops; a tree takes 2 log2 n hops for the same bytes. Nothing
overlaps: flowkit adds gradients up when all of them are there. `benchmarks/scaling.py` measures the numbers that go in
on CPU, and asks whether the formula is true there.
"""

import math
from typing import NamedTuple

import numpy as np
from measuring.work import images, step_flops


class Compute(NamedTuple):
    """Seconds of a step that do not depend on the batch, and for each image."""

    fixed: float
    per_image: float

    def seconds(self, batch):
        return self.fixed + batch * self.per_image


class Link(NamedTuple):
    """How a device reaches the next one: seconds for each message, bytes per second."""

    latency: float
    bandwidth: float
    tree: bool = False

    def hops(self, n):
        """How many messages follow one another in an all-reduce."""
        return 2 * math.ceil(math.log2(n)) if self.tree else 2 * (n - 1)

    def all_reduce(self, n, size):
        """Seconds in which n devices add up `size` bytes that each of them has."""
        return self.latency * self.hops(n) + 2 * (n - 1) / n * size / self.bandwidth


def step_seconds(compute, link, n, batch, size, *, messages=1, devices_at_once=None):
    """Seconds of a step of `batch` images in all, with `size` bytes of gradients in so many equal messages.

    `devices_at_once`: how many of the n compute at the same time, such as cores for processes; None for all.
    """
    turns = max(1.0, n / (devices_at_once or n))
    talk = messages * link.all_reduce(n, size / messages) if n > 1 else 0.0
    return turns * compute.seconds(batch / n) + talk


def efficiency(compute, link, n, batch, size, *, grows=False):
    """What n devices do, over n times what one does: 1 at best.

    The batch is that of all. One device alone takes the same batch; if it `grows` with n, its share of it.
    """
    alone = compute.seconds(batch / n) if grows else compute.seconds(batch) / n
    return alone / step_seconds(compute, link, n, batch, size)


def stops_paying(compute, link, batch, size, *, grows=False, most=2**14):
    """The first power of two of devices with an efficiency below one half; None up to `most`.

    `batch` is that of all devices; if it `grows`, that of each. A device has an image at least.
    """
    n = 2
    while n <= most and (grows or n <= batch):
        if efficiency(compute, link, n, batch * n if grows else batch, size, grows=grows) < 0.5:
            return n
        n *= 2
    return None


def fitted_link(n, sizes, seconds):
    """The `Link` whose ring of n takes these `seconds` for messages of these `sizes`: least squares of their ratios."""
    sizes, seconds = np.asarray(sizes, float), np.asarray(seconds, float)
    columns = np.stack([np.full_like(sizes, 2 * (n - 1)), 2 * (n - 1) / n * sizes], 1) / seconds[:, None]
    latency, per_byte = np.linalg.lstsq(columns, np.ones_like(seconds), rcond=None)[0]
    return Link(float(latency), float(1 / per_byte))


def fitted_compute(batches, seconds):
    """The `Compute` that takes these `seconds` for steps of these `batches` on one device: least squares."""
    per_image, fixed = np.polyfit(np.asarray(batches, float), np.asarray(seconds, float), 1)
    return Compute(float(fixed), float(per_image))


# The forecast. Nothing of it was measured: no figure of flowkit's is of a GPU yet.

SPEED = 30e12  # floating-point operations per second that a device keeps up: a 16th of an H100's peak in TF32
FIXED = (
    0.02  # seconds of a step that do not shrink with the batch: thousands of kernels to start, the optimizer
)
LINKS = {  # a third of the 450 GB/s that an H100's NVLink has each way, 0.8 of a network's; hosts share one card
    "NVLink": Link(5e-6, 150e9, tree=True),
    "100 Gb/s": Link(15e-6, 10e9, tree=True),
    "10 Gb/s": Link(50e-6, 1e9, tree=True),
}


class Model(NamedTuple):
    """A published Glow: trainable weights, images of each device as published, and what an image costs."""

    weights: int
    batch: int
    flops: float

    @property
    def size(self):
        """Bytes of its gradients, in float32."""
        return 4 * self.weights

    @property
    def compute(self):
        return Compute(FIXED, self.flops / SPEED)


MODELS = {
    "CIFAR-10": Model(44_603_604, 64, step_flops(images(32, 3, 32, 512, 1))),
    "ImageNet 64x64": Model(112_377_540, 16, step_flops(images(64, 4, 48, 512, 1))),
}
DEVICES = (8, 64, 512)


def forecast():
    """The table of docs/scaling.md, in Markdown."""
    lines = [
        "| Glow | link | devices | all-reduce | batch of each as published: step, efficiency "
        "| batch of all as published for 8: step, efficiency |",
        "|---|---|---|---|---|---|",
    ]
    for name, model in MODELS.items():
        for wire, link in LINKS.items():
            for n in DEVICES:
                talk = link.all_reduce(n, model.size)
                cells = [
                    _cell(model, link, n, n * model.batch, True),
                    _cell(model, link, n, 8 * model.batch, False),
                ]
                lines.append(f"| {name} | {wire} | {n} | {1000 * talk:.1f} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(model, link, n, batch, grows):
    if n > batch:
        return "fewer images than devices"
    seconds = step_seconds(model.compute, link, n, batch, model.size)
    share = efficiency(model.compute, link, n, batch, model.size, grows=grows)
    return f"{1000 * seconds:.0f} ms, {share:.2f}"


def ends():
    """From how many devices on each link does not pay, in Markdown."""
    lines = [
        "| Glow | link | batch of each as published | batch of all as published for 8 |",
        "|---|---|---|---|",
    ]
    for name, model in MODELS.items():
        for wire, link in LINKS.items():
            found = [
                stops_paying(model.compute, link, model.batch, model.size, grows=True),
                stops_paying(model.compute, link, 8 * model.batch, model.size),
            ]
            lines.append(f"| {name} | {wire} | {' | '.join(str(n or 'pays') for n in found)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    for name, model in MODELS.items():
        print(f"{name}: {model.size / 1e6:.0f} MB of gradients, {model.flops / 1e9:.1f} GFLOP for an image")
    print(f"\n{forecast()}\n\n{ends()}")
