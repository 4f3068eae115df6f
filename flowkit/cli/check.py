"""`flowkit check mypkg.twist:Twist`: every clause on every engine, as a table or as JSON.

Each engine runs in a process of its own, so this module imports neither Keras nor an engine: a name that cannot be
right is refused at once.
"""

import importlib.util
import json
import os
import re
import sys
from importlib.machinery import PathFinder

from flowkit._engine import ENGINES, installed, run_on
from flowkit.cli.failure import BAD_INPUT, CommandError

KEPT, BROKEN = 0, 1

_SIGNS = {"kept": "ok", "broken": "BROKEN", "waived": "waived", "not asked": "-"}
_WORKER = "import sys; from flowkit.testing.target import report; report(*sys.argv[1:])"


def run(target, *, backends=None, as_json=False, out=None, **options):
    """Check the bijector that `target` = "package.module:Name" makes, on each engine; return the exit code.

    0: every promise is kept; 1: one is broken, or not verified, on some engine. `backends` is a list of engines, or
    None for the one that is chosen. `options` are those of `check_bijector`: examples, event_shapes, profile.

    Raise CommandError, with exit code 2, if the target or an engine cannot be used.
    """
    engines = list(backends) if backends else [os.environ.get("KERAS_BACKEND") or "jax"]
    for engine in engines:
        if engine not in ENGINES:
            raise CommandError(f"cannot check on {engine!r}: expected one of {', '.join(ENGINES)}")
        if not installed(engine):
            known = ", ".join(name for name in ENGINES if installed(name))
            raise CommandError(f"cannot check on {engine!r}, which is not installed: expected one of {known}")
    _check_name(target)
    for package in ("hypothesis", "pytest"):
        if not installed(package):
            raise CommandError(
                f"flowkit.testing needs {package}, which is not installed: pip install hypothesis pytest"
            )
    reports = [_report(engine, target, options) for engine in engines]
    kept = all(report["kept"] for report in reports)
    if as_json:
        print(json.dumps({"target": target, "kept": kept, "reports": reports}, indent=2), file=out)
    else:
        print(table(reports), file=out)
    return KEPT if kept else BROKEN


def table(reports):
    """Clauses by engine, then what each broken one says."""
    names = [row["clause"] for row in reports[0]["clauses"]]
    width = max(map(len, names))
    lines = [" " * width + "".join(f"  {report['engine']:<11}" for report in reports)]
    broken = []
    for i, name in enumerate(names):
        rows = [report["clauses"][i] for report in reports]
        lines.append(f"{name:<{width}}" + "".join(f"  {_sign(row):<11}" for row in rows))
        broken += [
            f"{r['engine']}: {row['message']}"
            for r, row in zip(reports, rows, strict=True)
            if "message" in row
        ]
    notes = [f"{report['engine']}: note: {note}" for report in reports for note in report["notes"]]
    return "\n".join([*(line.rstrip() for line in lines), *(f"\n{text}" for text in broken + notes)])


def _sign(row):
    return "UNVERIFIED" if row["verdict"] == "not asked" and "message" in row else _SIGNS[row["verdict"]]


def _check_name(target):
    """Raise CommandError for a target that cannot name anything. Import nothing."""
    module, _, name = target.rpartition(":")
    in_file = module.endswith(".py")
    words = [*name.split("."), *([] if in_file else module.split("."))]
    if not all(word.isidentifier() for word in words):
        raise CommandError(f"cannot read {target!r}: expected package.module:Name, or file.py:Name")
    if in_file:
        if not os.path.isfile(module):
            raise CommandError(f"no file {module!r}")
        return
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is None and PathFinder.find_spec(top, [os.getcwd()]) is None:
        raise CommandError(f"cannot import {module!r}: No module named {top!r}")


def _report(engine, target, options):
    """The report of one engine, from a process of its own."""
    path = [os.getcwd(), *filter(None, sys.path)]
    done = run_on(engine, _WORKER, [target, json.dumps(options)], path)
    answer = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else None
    if answer is not None and "misused" not in answer:
        return answer
    if os.environ.get("FLOWKIT_DEBUG") not in (None, "", "0"):
        print(done.stderr, file=sys.stderr)
    message = answer["misused"] if answer else f"the check on {engine} stopped: {_end(done.stderr)}"
    raise CommandError(message, BAD_INPUT)


def _end(errors):
    """The last line of a traceback, and where it was raised: a file may have the name of a package's module."""
    lines = errors.strip().splitlines() or ["no message"]
    places = re.findall(r'^ *File "([^"<]+)", line (\d+)', errors, re.MULTILINE)
    return lines[-1] + (" ({}, line {})".format(*places[-1]) if places else "")
