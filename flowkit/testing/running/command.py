"""What `flowkit check mypkg.twist:Twist` does: every clause on every engine, as a table or as JSON."""

import json
import os
import re
import sys

from flowkit.testing.running.worker import run_on

KEPT, BROKEN, USAGE = 0, 1, 2

_SIGNS = {"kept": "ok", "broken": "BROKEN", "waived": "waived", "not asked": "-"}
_WORKER = "import sys; from flowkit.testing.running import command; command.one_engine(*sys.argv[1:])"


def check_command(target, *, backends=None, as_json=False, out=None, **options):
    """Check the bijector that `target` = "package.module:Name" makes, on each engine; returns the exit code.

    0: every promise is kept; 1: one is broken on some engine; 2: the target or an engine cannot be used.
    `backends` is a list of engines, or None for the one that is chosen. Each runs in a process of its own. `options`
    are those of `check_bijector`: examples, event_shapes, profile.
    """
    from flowkit._engine import ENGINES, installed

    out = out or sys.stdout
    engines = list(backends) if backends else [os.environ.get("KERAS_BACKEND") or "jax"]
    for engine in engines:
        if engine not in ENGINES:
            return _misused(f"cannot check on {engine!r}: expected one of {', '.join(ENGINES)}")
        if not installed(engine):
            known = ", ".join(name for name in ENGINES if installed(name))
            return _misused(f"cannot check on {engine!r}, which is not installed: expected one of {known}")
    file = target.rpartition(":")[0]
    if file.endswith(".py") and not os.path.isfile(file):  # before an engine is started
        return _misused(f"no file {file!r}")
    reports = []
    for engine in engines:
        done = _run(engine, target, options)
        answer = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else None
        if answer is None or "misused" in answer:
            if os.environ.get("FLOWKIT_DEBUG") not in (None, "", "0"):
                print(done.stderr, file=sys.stderr)
            return _misused(
                answer["misused"] if answer else f"the check on {engine} stopped: {_end(done.stderr)}"
            )
        reports.append(answer)
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
        lines.append(f"{name:<{width}}" + "".join(f"  {_SIGNS[row['verdict']]:<11}" for row in rows))
        broken += [
            f"{r['engine']}: {row['message']}"
            for r, row in zip(reports, rows, strict=True)
            if "message" in row
        ]
    notes = [f"{report['engine']}: note: {note}" for report in reports for note in report["notes"]]
    return "\n".join([*(line.rstrip() for line in lines), *(f"\n{text}" for text in broken + notes)])


def one_engine(target, options):
    """One engine's part: prints the report as a line of JSON."""
    from flowkit.testing.given.target import found, without_arguments
    from flowkit.testing.running.check import check_bijector
    from flowkit.testing.running.profiles import profile_of

    options = json.loads(options)
    try:
        make = without_arguments(found(target), target)
        profile_of(options.get("profile", "full"))
    except ValueError as error:
        answer = {"misused": str(error)}
    else:
        answer = check_bijector(make, raises=False, **options).as_dict()
    print("\n" + json.dumps(answer))


def _run(engine, target, options):
    return run_on(engine, _WORKER, [target, json.dumps(options)], [os.getcwd(), *filter(None, sys.path)])


def _end(errors):
    """The last line of a traceback, and where it was raised: a file may have the name of a package's module."""
    lines = errors.strip().splitlines() or ["no message"]
    places = re.findall(r'^ *File "([^"<]+)", line (\d+)', errors, re.MULTILINE)
    return lines[-1] + (" ({}, line {})".format(*places[-1]) if places else "")


def _misused(message):
    print(f"flowkit: {message}", file=sys.stderr)
    return USAGE
