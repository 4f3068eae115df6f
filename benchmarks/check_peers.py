"""Run flowkit's contract checker over every bijector that other libraries export, and print what it finds.

    python benchmarks/check_peers.py                           # all of them that are installed
    python benchmarks/check_peers.py --library zuko nflows --examples 50 --json found.json
    python benchmarks/check_peers.py --print --json found.json  # the table of docs/peers.md

Each library is checked in a process of its own, on its engine (torch or JAX), with random weights, in float64 with
float32 copies where the clause asks about those. `peers/` says how each bijector is made. docs/peers.md tells
what was found.
"""

import argparse
import importlib
import importlib.metadata
import json
import logging
import math
import os
import re
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace

LIBRARIES = {  # the module of `peers` -> its engine
    "torch_distributions": "torch",
    "zuko": "torch",
    "nflows": "torch",
    "normflows": "torch",
    "flowjax": "jax",
    "distrax": "jax",
    "tfp": "jax",
}
CLAUSES = ["round trip", "inverse round trip", "log-det", "inverse log-det", "batch independence"]
FORWARD = ["log-det", "batch independence"]
KINDS = [
    "broken",
    "raises",
    "rounding",  # less is lost than 64 of float64's roundings of 1: relative digits beside an edge
    "not judged",  # nothing to judge by, be it that a slope is too flat for its derivative not to be 0
    "tolerated",  # less than the library documents
]
EPSILON = 64 * 2.0**-52
FOLDERS = r"(?<![\w.])(?:/[\w.+-]+)+/(?=[\w.-]+\.py)"
NOISE = r"Exception encountered when calling Adapted.call\(\)\. |\x1b\[\d*m| Arguments received by Adapted.*"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--library", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only the bijectors of these names")
    parser.add_argument("--examples", type=int, default=25, help="for each clause (default: 25)")
    parser.add_argument("--json", help="write everything to this file")
    parser.add_argument("--print", action="store_true", help="print the table of what --json holds")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.print:
        with open(options.json) as file:
            print(as_markdown(json.load(file)))
        return
    if options.here:
        found = [check_library(options.library[0], options)]
    else:
        found = [in_own_process(library, options) for library in options.library]
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


def as_markdown(found):
    """Return the table of docs/peers.md: what each library exports, and how much of it was checked."""
    lines = [
        "| library | version | exported | checked, in how many settings | without a recipe |",
        "|---|---|---|---|---|",
    ]
    for library in found:
        rows = [row for row in library["bijectors"] if row["verdict"] != "no recipe"]
        names = {row["bijector"].partition("(")[0] for row in rows}
        counts = (
            len(library["exported"]),
            f"{len(names)}, in {len(rows)}",
            len(library["bijectors"]) - len(rows),
        )
        lines.append(f"| {library['library']} | {library['version']} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def in_own_process(library, options):
    """An engine cannot be changed once Keras is there; and a crash of one library spares the others."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, __file__, "--here", "--library", library, "--json", file.name]
        command += ["--examples", str(options.examples)]
        command += ["--only", *options.only] if options.only else []
        environment = os.environ | {"KERAS_BACKEND": LIBRARIES[library]}
        code = subprocess.run(command, env=environment).returncode
        if code:
            print(f"{library}: ended with code {code}")
            return {"library": library, "left_out": f"the process ended with code {code}"}
        with open(file.name) as written:
            return json.load(written)[0]


def check_library(library, options):
    """Everything about one library, as plain data; printed as it goes."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)  # JAX logs each error of another library at length
    try:
        import flowkit.engines  # noqa: F401  (chooses the engine before the library imports it)

        peer = importlib.import_module(f"peers.{library}")
        version = importlib.metadata.version(peer.PACKAGE)
    except ImportError as error:
        print(f"{library}: left out, since it is not installed or does not import ({error})")
        return {"library": library, "left_out": str(error)}
    print(f"{peer.NAME} {version}")
    exports = peer.exports()
    rows = []
    for name in exports:
        made = {key: recipe for key, recipe in peer.RECIPES.items() if key.partition("(")[0] == name}
        if not made:
            rows.append(
                {"bijector": name, "verdict": "no recipe", "reason": peer.NO_RECIPE.get(name, "none written")}
            )
        for key, recipe in made.items():
            if not options.only or key in options.only or name in options.only:
                rows.append(check_one(key, recipe, options.examples))
                show(rows[-1])
    if not options.only:
        for row in rows:
            if row["verdict"] == "no recipe":
                print(f"  {row['bijector']}: no recipe: {row['reason']}")
        strange = [key for key in peer.RECIPES if key.partition("(")[0] not in exports]
        print(f"  {len(exports)} exported; recipes for others: {', '.join(strange) or 'none'}")
    return {"library": peer.NAME, "version": version, "exported": exports, "bijectors": rows}


def check_one(name, recipe, examples):
    """One bijector's findings, each at the smallest size that shows it."""
    row = {"bijector": name, "verdict": "kept", "findings": []}
    try:
        findings = found(recipe, recipe.sizes[0], CLAUSES if recipe.has_inverse else FORWARD, examples)
    except Exception as error:  # another library may raise anything
        text = " ".join(str(error).split())[:300]
        return row | {"verdict": "cannot be made", "reason": f"{type(error).__name__}: {text}"}
    for finding in findings:
        smaller = []
        for size in recipe.sizes[1:]:
            try:
                smaller += found(recipe, size, [finding["clause"]], examples)
            except Exception:  # this one does not exist so small
                continue
        alike = [finding, *(f for f in smaller if f["kind"] == finding["kind"])]
        row["findings"].append(min(alike, key=lambda f: math.prod(f["event"])))
    if findings:
        row["verdict"] = min((f["kind"] for f in findings), key=KINDS.index)
    return row


def found(recipe, size, clauses, examples):
    """What the bijector of one size breaks, as plain data: for each clause the worst kind among the examples."""
    from flowkit.testing.checker import Check
    from flowkit.testing.examples import drawn_from, standard, strategy_for

    event = recipe.event(size)
    check = Check(adapted(recipe, size), event_shapes=[event], examples=examples)
    points = [*standard([event]), *drawn_from(strategy_for([event]), examples, 0)]
    findings = []
    for clause in clauses:
        result = check.run(clause)  # stops at the first that breaks it, and makes that smaller
        if result.verdict != "broken":
            continue
        results = [result]
        if kind(result, recipe) != KINDS[0]:  # it may hide a worse one
            others = [check.run(clause, replay=point) for point in points]
            results += [r for r in others if r.verdict == "broken" and kind(r, recipe) != "not judged"]
        worst = min(results, key=lambda r: KINDS.index(kind(r, recipe)))
        if kind(worst, recipe) != "tolerated":
            findings.append(as_data(worst, kind(worst, recipe), event))
    return findings


def kind(result, recipe):
    """How much a broken promise means, one of KINDS."""
    measured = result.error.measured
    if "could be judged" in result.reason or "singular Jacobian" in result.reason:
        return "not judged"
    if measured is None:
        return "raises" if "expected an answer" in result.reason else "broken"
    if measured <= recipe.tolerance:
        return "tolerated"
    return "rounding" if measured < EPSILON else "broken"


def adapted(recipe, size):
    """The bijector in the contract, made with float64 numbers."""
    import keras

    from flowkit.engines import engine
    from flowkit.testing import adapt

    if engine.name == "torch":
        import torch

        torch.manual_seed(size)
    with engine.float64():
        made = recipe.make(size)
    bijector = adapt(
        made,
        event_shape=recipe.event(size),
        domain=recipe.domain,
        codomain=recipe.codomain,
        inverse=recipe.inverse,
    )
    if not recipe.has_inverse:  # the batch clause calls both directions
        nothing = replace(bijector.convention, inverse=lambda obj, z: (z, keras.ops.zeros(len(z))))
        bijector.__dict__["convention"] = nothing
    return bijector


def as_data(result, kind, event):
    """A broken promise as plain data."""
    error = result.error
    return {
        "clause": result.clause,
        "kind": kind,
        "reason": re.sub(FOLDERS, "", re.sub(NOISE, "", result.reason))[:400],
        "event": list(event),
        "measured": error.measured,
        "allowed": error.allowed,
        "conditioning": error.conditioning,
        "example": str(error.example),
    }


def show(row):
    print(f"  {row['bijector']}: {row['verdict']}", *[row["reason"]] if "reason" in row else [], flush=True)
    for finding in row.get("findings", ()):
        text = f"{finding['reason']}; event {tuple(finding['event'])}, {finding['example']}"
        if finding["kind"] == "not judged":
            text = "nothing that could be judged"
        elif finding["measured"] is not None:
            text = f"off by {finding['measured']:.3g}, allowed {finding['allowed']:.3g}: {text}"
        print(f"    {finding['clause']} ({finding['kind']}): {text}")


if __name__ == "__main__":
    main()
