"""`flowkit check mypkg.twist:Twist`: every clause on every backend, as a table or as JSON.

Each backend runs in a process of its own, so this module imports neither Keras nor a backend.
"""

import json
import os
import sys
from importlib.machinery import PathFinder
from typing import Annotated, Any

from typer import Argument, Option

from flowkit._engine import installed, pip_install, run_on
from flowkit.app.backend import main_alone
from flowkit.app.commands import Json
from flowkit.app.failure import CommandError, debugging

_WORKER = "import sys; from flowkit.testing.processes import report; report(*sys.argv[1:])"


def _shapes(text):
    """Return the event shapes of an option such as 3;8,8,3; typer refuses other words."""
    return [tuple(int(size) for size in part.split(",")) for part in text.split(";")]


def check(
    target: Annotated[str, Argument(metavar="MODULE:NAME", help="A bijector, as mypkg.twist:Twist.")],
    backends: Annotated[
        str | None,
        Option("--backends", "--backend", help="With commas between them. Default: the one in use."),
    ] = None,
    examples: Annotated[int | None, Option(min=1, help="Examples for each clause.")] = None,
    event_shapes: Annotated[
        Any, Option(parser=_shapes, metavar="3;8,8,3", help="Event shapes. Default: found by trial.")
    ] = None,
    profile: Annotated[str, Option(help="How much is asked: fast, full or thorough.")] = "full",
    json_: Json = False,
):
    """Hold a bijector to its contract: exit code 1 if a promise is broken."""
    chosen = backends.split(",") if backends else [os.environ.get("KERAS_BACKEND") or "jax"]
    for package in ("hypothesis", "pytest"):
        if not installed(package):
            raise CommandError(f"flowkit.testing needs {package}: {pip_install('testing')}")
    _refuse_name(target)
    main_alone()
    options = {"examples": examples, "event_shapes": event_shapes, "profile": profile}
    reports = [_report(backend, target, options) for backend in chosen]
    kept = all(report["kept"] for report in reports)
    tables = [report.pop("table") for report in reports]
    if json_:
        print(json.dumps({"target": target, "kept": kept, "reports": reports}, indent=2))
    else:
        rows = [(report["backend"], row) for report in reports for row in report["clauses"]]
        messages = [f"{backend}: {row['message']}" for backend, row in rows if "message" in row]
        print("\n\n".join(tables + messages))
    return 0 if kept else 1


def _refuse_name(target):
    """Raise a CommandError for a name without a module that exists; import nothing, since a backend takes long."""
    module, _, attribute = target.rpartition(":")
    if not (module and attribute):
        raise CommandError(f"MODULE:NAME: got {target!r}, expected package.module:Name or file.py:Name.")
    package = module.partition(".")[0]
    if module.endswith(".py"):
        exists = os.path.isfile(module)
    else:
        exists = package and (PathFinder.find_spec(package, [os.getcwd()]) or installed(package))
    if not exists:
        raise CommandError(
            f"MODULE:NAME: got {target!r}, expected a module that can be imported, or a file, from here."
        )


def _report(backend, target, options):
    """Return the report of one backend, from a process of its own."""
    path = [os.getcwd(), *filter(None, sys.path)]
    done = run_on(backend, _WORKER, [target, json.dumps(options)], path)
    answer = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else {}
    if answer and "misused" not in answer:
        return answer
    if debugging():
        print(done.stderr, file=sys.stderr)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise CommandError(
        answer.get("misused") or f"the check on {backend} stopped: {last} (FLOWKIT_DEBUG=1 shows where)"
    )
