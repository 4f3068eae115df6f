"""What Glow keeps for the backward pass, and what a gradient costs, with each `backprop`: docs/performance.md.

    KERAS_BACKEND=torch python benchmarks/memory.py --steps 8 16 32     # from the repository's root; or jax

- kept: on torch the bytes of saved tensors that are not weights; on JAX the temporary memory of the compiled
  gradient (XLA's `memory_analysis`). On a GPU with torch also the peak of allocated memory.
- time: processor time of one gradient, the median of a few in turns, so that what else runs counts alike; on a
  GPU, time until the device is done.

Prints a table in Markdown, then the same as one line of JSON, which `--keep` writes to memory.json for its backend.
"""

import argparse
import json
import time
from pathlib import Path

import flowkit  # noqa: F401  (chooses the engine)

# isort: split
import keras
import numpy as np

from flowkit import zoo
from flowkit.contract.adaptation import mark_adapted
from flowkit.engines import engine

MODES = ("stored", "recompute", "reversible")
FILE = Path(__file__).with_suffix(".json")


def glow(mode, steps, options):
    flow = zoo.glow(
        levels=options.levels,
        steps=steps,
        width=options.width,
        n_bits=None,
        backprop=mode,
        input_shape=(options.size, options.size, 3),
    )
    mark_adapted(flow)
    return flow


def on_torch(flow, x):
    """(measures, a function that computes one gradient)."""
    import torch

    x = keras.ops.convert_to_tensor(x)
    weights = [variable.value for variable in flow.trainable_variables]
    own = {variable.value.untyped_storage().data_ptr() for variable in flow.variables}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no other gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = -flow(x).mean()
    measures = {"kept": sum(size for size, _ in seen.values())}
    del loss
    seen.clear()

    def gradient():
        torch.autograd.grad(-flow(x).mean(), weights)
        if x.is_cuda:
            torch.cuda.synchronize()

    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        gradient()
        measures["peak"] = torch.cuda.max_memory_allocated()
    return measures, gradient


def on_jax(flow, x):
    """(measures, a function that computes one gradient)."""
    import jax

    fixed = [variable.value for variable in flow.non_trainable_variables]
    weights = [variable.value for variable in flow.trainable_variables]

    def loss(weights, x):
        return -flow.stateless_call(weights, fixed, x)[0].mean()

    compiled = jax.jit(jax.grad(loss)).lower(weights, x).compile()
    kept = compiled.memory_analysis().temp_size_in_bytes
    return {"kept": kept}, lambda: jax.block_until_ready(compiled(weights, x))


def measure(options):
    prepare = {"torch": on_torch, "jax": on_jax}[engine.name]
    clock = time.process_time if all("cpu" in device for device in engine.devices()) else time.perf_counter
    shape = (options.batch, options.size, options.size, 3)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    for steps in options.steps:
        prepared = {mode: prepare(glow(mode, steps, options), x) for mode in MODES}
        times = {mode: [] for mode in MODES}
        for _ in range(1 + options.repeats):
            for mode in MODES:
                start = clock()
                prepared[mode][1]()
                times[mode].append(clock() - start)
        for mode in MODES:
            seconds = float(np.median(times[mode][1:]))  # the first one warms up
            yield {"steps": steps, "backprop": mode, **prepared[mode][0], "seconds": seconds}


def as_markdown(rows):
    """Return the table of rows, with times as multiples of those of "stored" in brackets."""
    lines = [f"| steps per level | {' | '.join(MODES)} |", f"|{'---|' * (1 + len(MODES))}"]
    for steps in dict.fromkeys(row["steps"] for row in rows):
        found = {row["backprop"]: row for row in rows if row["steps"] == steps}
        cells = [_cell(found[mode], found["stored"]) for mode in MODES if mode in found]
        lines.append(f"| {steps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row, stored):
    peak = f" (peak {row['peak'] / 1e6:.0f})" if "peak" in row else ""
    times = "" if row is stored else f" ({row['seconds'] / stored['seconds']:.2f})"
    return f"{row['kept'] / 1e6:.1f} MB{peak}, {row['seconds']:.3f} s{times}"


def main():
    parser = argparse.ArgumentParser()
    for name, default in {"levels": 3, "width": 64, "batch": 16, "size": 32, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--keep", action="store_true", help="write this run to memory.json")
    options = parser.parse_args()
    if engine.name == "tensorflow":
        print("TensorFlow does not say what it keeps: set KERAS_BACKEND to torch or jax")
        return
    run = {**vars(options), "rows": list(measure(options))}
    print(f"{as_markdown(run['rows'])}\n{json.dumps({'engine': engine.name, **run})}")
    if options.keep:
        others = json.loads(FILE.read_text()) if FILE.exists() else {}
        FILE.write_text(json.dumps({**others, engine.name: run}, indent=1) + "\n")


if __name__ == "__main__":
    main()
