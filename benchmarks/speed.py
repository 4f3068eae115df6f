"""Speed of flowkit and of other libraries at the same work: docs/performance.md.

    python benchmarks/speed.py --preset small vectors splines maf --depths 8 16 32 --json speed.json

Contenders, one to a file of `contenders/`, run in processes of their own and measure in turns, each repeat all of them:

- training step: forward, backward and Adam on one batch; evaluation: log_prob of a batch; sampling: a batch;
- evaluation and sampling of many, for images: 1,000 in batches of 256, one call of flowkit's;
- first step: from the construction of the model to the end of its first training step, compilation included; in
  brackets how much of it is construction;
- peak memory: of the device on a GPU, otherwise of the process, libraries included (memory.py tells what is kept).

The floor is the flow's networks alone, on the same engine; its evaluation and sampling are their forward pass. Prints
Markdown tables. What is not installed, or fails, is named below its table.

At a release `--keep` writes the run to `released.json` beside this file, in place of the one that is there. Any other
run ends with what of flowkit's has become slower than that: see `measuring/released.py`.
"""

import argparse
import json
import sys
from pathlib import Path

from measuring import released, table
from measuring.machine import machine
from measuring.turns import measure, with_ratios
from measuring.work import PRESETS, chosen, is_images

RELEASED = Path(__file__).with_name("released.json")
SMALL_SET = ["small", "vectors", "splines", "maf"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--preset", nargs="+", choices=PRESETS, default=SMALL_SET)
    add("--backend", "--engine", dest="engine", nargs="+", choices=["torch", "jax"], default=["torch", "jax"])
    add("--contender", nargs="+", metavar="NAME", help="only these (and flowkit)")
    add("--repeats", type=int, default=7)
    add("--depths", type=int, nargs="+", default=[], help="first steps with so many steps per level")
    add("--compiled", action="store_true", help="flowkit on torch also with jit_compile=True")
    add("--at-once", type=int, metavar="N", help="flowkit's vectors on JAX also with N steps as one program")
    add("--reversible", action="store_true", help="flowkit's Glow also with backprop='reversible'")
    add("--limit", type=float, metavar="SECONDS", help="who takes longer for one answer is left out")
    add("--precision", choices=["default", "float32", "tf32", "bfloat16"], default="default")
    add(
        "--set",
        nargs="+",
        metavar="KEY=VALUE",
        default=[],
        help="other sizes than the preset's: steps=1 width=4",
    )
    add("--json", help="write everything to this file")
    add("--released", metavar="FILE", type=Path, default=RELEASED, help="the run to compare with")
    add("--keep", action="store_true", help="write this run there, as that of a release")
    add("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        from measuring.worker import serve

        return serve(*json.loads(options.worker))
    if options.keep and options.repeats < released.LEAST_TURNS:
        parser.error(f"--keep: got --repeats {options.repeats}, expected at least {released.LEAST_TURNS}")
    result = {"machine": machine(), "comparisons": []}
    for preset in options.preset:
        work = sized(PRESETS[preset], options, parser)
        result["comparisons"].append(compare(preset, work, options, result["machine"]))
        if options.json:  # after each, so that a run that is cut off leaves something
            with open(options.json, "w") as file:
                json.dump(result, file, indent=1)
    if options.released.exists():
        print(released.against(json.loads(options.released.read_text()), result), flush=True)
    if options.keep:
        options.released.write_text(json.dumps(result, indent=1) + "\n")


def sized(work, options, parser):
    """The preset's work with what --set and --precision change; images and vectors each take what they know."""
    known = {key for preset in PRESETS.values() for key, value in preset.items() if isinstance(value, int)}
    for pair in options.set:
        key, _, value = pair.partition("=")
        if key not in known or not value.isdigit():
            parser.error(f"--set: got {pair}, expected a whole number for one of {', '.join(sorted(known))}")
        if key in work:
            work = work | {key: int(value)}
    if not is_images(work) and options.precision == "bfloat16":
        parser.error("--precision bfloat16 is for images: not every library's vectors can be told")
    return work | {"precision": options.precision}


def compare(preset, work, options, where):
    """One preset's rows. Large images: one contender after another, for memory's sake, and the training step alone."""
    contenders = chosen(work, options)
    turns, repeats = {"script": __file__, "say": say, "limit": options.limit}, options.repeats
    if work["kind"] == "large images":
        repeats = 1
        rows = [measure([c], work, **turns, repeats=1, tasks=["train"])[0] for c in contenders]
    else:
        rows = measure(contenders, work, **turns, repeats=repeats)
    rows = with_ratios(rows)
    say()
    print(f"{table.heading(where, rows)}\n\n{preset}: {table.comparison(work, rows, repeats)}\n", flush=True)
    deep = []
    if work["kind"] == "images":
        for depth in options.depths:
            for contender in (c for c in contenders if c[0] != "twin"):  # which has nothing to compile less
                (row,) = measure([contender], work | {"steps": depth}, **turns, repeats=0)
                deep.append({**row, "steps": depth})
        if deep:
            say()
            print(f"{table.latency(deep)}\n", flush=True)
    return {"preset": preset, "work": work, "repeats": repeats, "rows": rows, "depths": deep}


def say(text=""):
    """What is being done, on a terminal, where the next words take its place."""
    if sys.stderr.isatty():
        print(f"\r{text:78}", end="" if text else "\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
