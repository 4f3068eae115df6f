"""What a training step of each image family costs beside its networks alone.

    KERAS_BACKEND=torch OMP_NUM_THREADS=1 python benchmarks/image_steps.py
    KERAS_BACKEND=jax OMP_NUM_THREADS=1 python benchmarks/image_steps.py glow jet
    python benchmarks/image_steps.py --print

Processor time of one thread, medians of turns that the flow and its networks take in one process. The flow trains by
`fit` with Adam on one batch of 28x28 images. Its networks alone are its own conditioners with weights of their own at
the shapes that the flow passes: one forward pass, gradients of the weights and of inputs that depend on
weights, and the Adam of `contenders/`. Sizes are in `FAMILIES`. Each measurement is a line of image_steps.jsonl.
"""

import argparse
import importlib
import itertools
import statistics
import time
from pathlib import Path

import flowkit  # before Keras, which takes its engine when it is imported

# isort: split
import keras
import numpy as np
from contenders.flowkit import Fitted
from keras import ops
from measuring.records import Records

from flowkit import zoo
from flowkit.contract.conditioner import ask
from flowkit.engines import engine

SHAPE = (28, 28, 1)
FAMILIES = {
    "glow": (zoo.glow, {"levels": 2, "steps": 4, "width": 64}),
    "flow_pp": (
        zoo.flow_pp,
        {
            "width": 32,
            "mixtures": 8,
            "blocks": 1,
            "couplings": (1, 2, 1),
            "dropout": 0.0,
            "dequantizer_blocks": 1,
        },
    ),
    "jet": (zoo.jet, {"depth": 6, "block_depth": 2, "width": 64, "spatial": False}),
    "tarflow": (zoo.tarflow, {"blocks": 4, "depth": 2, "width": 64, "patch": 4}),
    "maf_images": (zoo.maf_images, {"width": 128, "depth": 2, "reach": 6, "mixtures": 8}),
}
READ_DATA = (
    "jet",
    "tarflow",
    "maf_images",
)  # families whose first network reads what nothing trained has changed
BATCH = 32
WORK = {"batch": BATCH, "precision": "default"}
KEY = ("family", "backend")


def networks(layer):
    """Return the conditioners of a layer and of all layers inside of it."""
    if hasattr(layer, "copies"):  # a Repeat, whose copies have weights of their own
        return [found for copy in layer.copies() for found in networks(copy)]
    own = [getattr(layer, name, None) for name in ("conditioner", "embedding")]
    inside = [getattr(layer, name, None) for name in ("bijector", "density", "dequantize")]
    inside += [*getattr(layer, "parts", []), *getattr(layer, "scales", [])]
    return [part for part in own if part] + [found for part in inside if part for found in networks(part)]


def inputs_of(network):
    """Return random inputs of a built network: x, and a context if it takes one."""
    config = network.get_build_config()
    shapes = config["shapes_dict"].values() if "shapes_dict" in config else [config["input_shape"]]
    draw = np.random.default_rng(0).normal
    return [ops.convert_to_tensor(draw(size=(BATCH, *shape[1:])), "float32") for shape in shapes if shape]


def alone(nets, first_reads_data):
    """Return a contender: networks that train on inputs of their own; `first_reads_data`: without that gradient."""
    given = [inputs_of(network) for network in nets]

    def loss(inputs):
        (x, *context), *others = inputs
        inputs = [(ops.stop_gradient(x) if first_reads_data else x, *context), *others]
        answers = [
            ask(network, x, context[0] if context else None, "float32")
            for network, (x, *context) in zip(nets, inputs, strict=True)
        ]
        return sum(ops.mean(ops.square(answer)) for answer in answers)

    def of_weights(values, inputs):
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return loss(inputs)

    def with_gradients(inputs):
        for x in itertools.chain(*inputs):
            x.grad = None
        return loss(inputs)

    if engine.name == "torch":
        from contenders.on_torch import OnTorch, torch

        for x in itertools.chain(*given):
            x.requires_grad_()
        return OnTorch(WORK, torch.nn.ModuleList(nets), given, with_gradients, loss, None)
    from contenders.on_jax import OnJax

    weights = [variable for network in nets for variable in network.trainable_variables]
    values = [variable.value + 0 for variable in weights]  # copies, which a step may donate
    return OnJax(WORK, values, given, of_weights, of_weights, None, gradient_of_x=True)


def seconds_of(contender, steps):
    """Return the processor seconds of a training step; the first one of a call, with which loops begin, is left out."""
    laps, wait = [], importlib.import_module(f"measuring.{engine.name}_device").wait

    def lap():
        wait()
        laps.append(time.process_time())

    contender.train(1 + steps, lap)
    return (laps[-1] - laps[0]) / steps


def measure(family, turns, steps):
    """Return the measurements of one family on this backend."""
    make, sizes = FAMILIES[family]
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *SHAPE), dtype="uint8")
    flow = Fitted(WORK, make(**sizes, input_shape=SHAPE), images)
    floor = alone(networks(flow.flow), family in READ_DATA)
    for contender in (flow, floor):
        contender.train(2, lambda: None)  # compiles
    times = [(seconds_of(flow, steps), seconds_of(floor, steps)) for _ in range(turns)]
    step, networks_alone = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "family": family,
        "backend": engine.name,
        "step": step,
        "networks": networks_alone,
        "ratio": statistics.median(one / other for one, other in times),
        "turns": times,
        "versions": f"keras {keras.__version__}, flowkit {flowkit.__version__}",
    }


def as_markdown(records):
    """Return the table of the measurements, a row for each family."""
    columns = [f"{word}, {title}" for title in ("PyTorch", "JAX") for word in ("step", "networks", "ratio")]
    lines = [f"| family | {' | '.join(columns)} |", f"|{'---|' * 7}"]
    for family in FAMILIES:
        rows = [records.find(family=family, backend=backend) for backend in ("torch", "jax")]
        cells = [
            f"{1000 * row['step']:.0f} ms | {1000 * row['networks']:.0f} ms | {row['ratio']:.2f}"
            if row
            else "not measured | |"
            for row in rows
        ]
        lines.append(f"| `{family}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "image_steps.jsonl")
    parser.add_argument("--print", action="store_true", help="print the table of what is there")
    options = parser.parse_args()
    records = Records(options.out, key=KEY)
    for family in [] if options.print else options.families:
        row = measure(family, options.turns, options.steps)
        records.add(**row)
        print(f"{family}: {row['ratio']:.2f}", flush=True)
    print(as_markdown(records))


if __name__ == "__main__":
    main()
