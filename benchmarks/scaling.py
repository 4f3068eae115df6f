"""What a training step of Glow costs in a group of 1, 2 and 4 processes, and how much of it is talk: docs/scaling.md.

    KERAS_BACKEND=torch python benchmarks/scaling.py      # from the repository's root; or jax

Each process is held to one core and one thread. With two cores four processes take turns, so no speed-up is to be seen;
what is measured is the share of a step that goes into adding gradients up, and whether `step_cost.py` tells the time of
a step from its parts:

- link: all-reduces of several sizes, by the engine's own library (gloo on CPU); a latency and a bandwidth are fitted.
- compute: steps of one process with the whole batch, a half and a quarter of it.
- step: what `fit` takes with 2 and 4 processes, and what the formula says: in wall time, which only an idle machine
  tells, and in processor time, which others leave alone.

Prints tables in Markdown, then all of it as one line of JSON. Wall time is the least of the steps', since what
else runs on the machine only adds to it; processor time is that of all threads of a process, the median of the steps.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time

from step_cost import fitted_compute, fitted_link, step_seconds

SIZES = [2**power for power in (10, 14, 17, 20, 22, 24)]  # bytes of a message
KINDS = ("wall", "processor")


def started(processes, options, batches):
    """What `processes` of this program, started as a group, have measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, __file__, "--worker", json.dumps({**vars(options), "batches": batches})]
    group = []
    for rank in range(processes):
        own = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        if processes > 1:
            own |= {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
                "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
            }
        group.append(subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True))
    answers = [process.communicate()[0] for process in group]
    if any(process.returncode for process in group):
        raise SystemExit(f"a group of {processes} failed: exit codes {[p.returncode for p in group]}")
    return json.loads(answers[0].splitlines()[-1])


def work(options):
    """One process of a group: measures, and the main one prints."""
    cores = sorted(os.sched_getaffinity(0))
    rank = int(os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", 0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})

    import flowkit

    flowkit.distributed.start()
    import keras
    import numpy as np

    from flowkit import distributed, zoo
    from flowkit.engines import engine

    def between(moments):
        """Seconds between these moments: on the wall the least, since others only add to it; of processors medians."""
        wall, processor = np.diff(np.array(moments), axis=0).T
        walls, processors = distributed.gather(np.array([[wall.min(), np.median(processor)]])).T
        return {"wall": float(walls.max()), "processor": float(processors.mean())}

    def timed(action):
        action()
        moments = [now()]
        for _ in range(options["repeats"]):
            action()
            moments.append(now())
        return between(moments)

    def flow():
        keras.utils.set_random_seed(0)
        shape = (options["size"], options["size"], 3)
        glow = zoo.glow(levels=2, steps=options["steps"], width=options["width"], input_shape=shape)
        glow.compile("adam")
        return glow

    def step(batch):
        rng = np.random.default_rng(0)
        shape = (batch * options["steps_timed"], options["size"], options["size"], 3)
        x = rng.integers(0, 256, shape, dtype="uint8")
        glow, clock = flow(), Clock()
        glow.adapt(distributed.mine(x[:batch]))
        glow.fit(flowkit.data.batches(x, batch_size=batch), epochs=2, verbose=0, callbacks=[clock.callback()])
        return between(clock.moments)

    shapes = [tuple(weight.shape) for weight in flow().trainable_variables]
    told = {"bytes": 4 * sum(int(np.prod(shape)) for shape in shapes), "weights": len(shapes)}
    if distributed.world() > 1:
        told["pings"] = [timed(adding_up([(size // 4,)])) for size in SIZES]
        told["gradients"] = timed(adding_up(shapes))
    told["steps"] = [step(batch) for batch in options["batches"]]
    if distributed.is_main():
        print(json.dumps({"engine": engine.name, "cores": len(cores), **told}), flush=True)


def now():
    return time.perf_counter(), time.process_time()


class Clock:
    """The moments at which the steps of a second epoch end, once their loss is there."""

    def __init__(self):
        self.moments = []

    def callback(self):
        import keras

        def note(batch, logs):
            float(logs["loss"])
            self.moments.append(now())

        forget = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: self.moments.clear())
        forget.on_train_batch_end = note
        return forget


def adding_up(shapes):
    """A function that adds up tensors of these shapes over the group, in the way in which a training step does."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        from flowkit.engines import engine

        tensors = [torch.ones(shape) for shape in shapes]
        return lambda: engine.summed(tensors)

    import jax
    import numpy as np

    mesh = keras.distribution.distribution().device_mesh.backend_mesh
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    own = [np.ones((1, *shape), "float32") for shape in shapes]
    tensors = [jax.make_array_from_process_local_data(rows, array) for array in own]
    sums = jax.jit(lambda tensors: [tensor.sum(0) for tensor in tensors], out_shardings=whole)
    return lambda: jax.block_until_ready(sums(tensors))


def report(options):
    batches = [options.batch, options.batch // 2, options.batch // 4]
    alone = started(1, options, batches)
    computes = {kind: fitted_compute(batches, [step[kind] for step in alone["steps"]]) for kind in KINDS}
    print(f"{alone['engine']}, {alone['cores']} cores, load {os.getloadavg()[0]:.1f}, batch {options.batch}:")
    print(f"Glow of {alone['weights']} tensors, {alone['bytes'] / 1e6:.2f} MB of gradients.\n")
    print("| processes | | step | adding gradients up | share | latency | bandwidth | formula | error |")
    print("|---" * 9 + "|")
    rows = [alone]
    for kind, compute in computes.items():
        fixed, each = f"{1000 * compute.fixed:.0f} ms", f"{1000 * compute.per_image:.2f} ms"
        step = 1000 * alone["steps"][0][kind]
        print(
            f"| 1 | {kind} | {step:.0f} ms | - | - | - | - | {fixed} and {each} for each image | |",
            flush=True,
        )
    for n in options.processes:
        told = started(n, options, [options.batch])
        for kind, compute in computes.items():
            link = fitted_link(n, SIZES, [ping[kind] for ping in told["pings"]])
            step, talk = told["steps"][0][kind], told["gradients"][kind]
            # A processor's time does not pass while it waits.
            turns = min(n, told["cores"]) if kind == "wall" else n
            said = step_seconds(compute, link, n, options.batch, told["bytes"], devices_at_once=turns)
            print(
                f"| {n} | {kind} | {1000 * step:.0f} ms | {1000 * talk:.1f} ms | {talk / step:.1%} "
                f"| {1e6 * link.latency:.0f} us | {link.bandwidth / 1e9:.2f} GB/s "
                f"| {1000 * said:.0f} ms | {said / step - 1:+.0%} |",
                flush=True,
            )
        rows.append({**told, "processes": n})
    print(
        "\n| message | "
        + " | ".join(f"{row['processes']} processes: wall, processor" for row in rows[1:])
        + " |"
    )
    print("|---" * len(rows) + "|")
    for i, size in enumerate(SIZES):
        pings = [row["pings"][i] for row in rows[1:]]
        cells = [f"{1e6 * ping['wall']:,.0f} us, {1e6 * ping['processor']:,.0f} us" for ping in pings]
        print(f"| {size / 1e3:,.0f} kB | {' | '.join(cells)} |")
    print(json.dumps({**vars(options), "rows": rows}))


def main():
    parser = argparse.ArgumentParser()
    numbers = {"batch": 32, "size": 16, "steps": 4, "width": 256, "steps_timed": 24, "repeats": 60}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work(json.loads(options.worker)) if options.worker else report(options)


if __name__ == "__main__":
    main()
