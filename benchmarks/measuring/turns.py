"""Contenders measure in turns, so that what else runs on the machine counts alike for all."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading

from measuring.work import BASE, tasks_of, turns_of

ENVIRONMENT = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX would take three quarters of a GPU's memory from the others
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # a first step compiles
    "JAX_ENABLE_COMPILATION_CACHE": "false",
}


class Worker:
    """A contender's process, seen from outside. One that cannot go on says why in `left_out`.

    `limit`: seconds for each answer, None for no limit; who takes longer is ended.
    """

    def __init__(self, contender, work, script, limit=None):
        self.contender, self.times, self.peaks = contender, {}, {}
        self.limit, self.too_slow = limit, False
        environment = os.environ | ENVIRONMENT | {"KERAS_BACKEND": contender[1]}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process runs)
        self.process = subprocess.Popen(
            [sys.executable, script, "--worker", json.dumps([contender, work])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )
        self.left_out = None
        self.facts = self.answer()

    def ask(self, task):
        if self.left_out is None:
            with contextlib.suppress(BrokenPipeError):  # the answer says how it ended
                print(task, file=self.process.stdin, flush=True)
            return self.answer()
        return {}

    def answer(self):
        alarm = threading.Timer(self.limit, self.end) if self.limit else None
        if alarm:
            alarm.start()
        line = self.process.stdout.readline()
        if alarm:
            alarm.cancel()
        facts = json.loads(line) if line else {"left_out": self.ending()}
        self.left_out = facts.pop("left_out", None)
        return facts

    def end(self):
        self.too_slow = True
        self.process.kill()

    def ending(self):
        code = self.process.wait()
        if self.too_slow:
            return f"no answer within {self.limit:g} s"
        if code == -9:
            return "killed, probably since memory ran out"
        self.errors.seek(0)
        return f"ended with code {code}: {' '.join(self.errors.read().split())[-300:]}"

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.errors.close()

    def row(self):
        name, engine, _, _ = self.contender
        row = {"contender": name, "engine": engine, **self.facts, **self.peaks, "times": self.times}
        row["median"] = {task: statistics.median(times) for task, times in self.times.items() if times}
        return row if self.left_out is None else {**row, "left_out": self.left_out}


def measure(contenders, work, script, *, repeats, tasks=None, say=lambda text: None, limit=None):
    """Rows, one for each contender. Each process makes its first step alone; then they take turns.

    `tasks` None: all that there are for this work.
    """
    names, workers = tasks_of(work), []
    try:
        for contender in contenders:
            say(f"{contender[0]} on {contender[1]}: first step")
            workers.append(Worker(contender, work, script, limit))
        for task in names if tasks is None else tasks:
            turns = turns_of(task, repeats)
            for repeat in range(turns):
                say(f"{names[task]}, repeat {repeat + 1} of {turns}")
                for worker in workers[:: -1 if repeat % 2 else 1]:
                    answer = worker.ask(task)
                    if "seconds" in answer:
                        worker.times.setdefault(task, []).append(answer["seconds"])
        for worker in workers:
            worker.peaks = worker.ask("peaks")
    finally:
        for worker in workers:
            worker.close()
    return [worker.row() for worker in workers]


def with_ratios(rows):
    """The rows, each median compared with the floor's and with flowkit's on the same engine."""
    for row in rows:
        for other in ("floor", "flowkit"):
            row[f"to_{other}"] = to_other(row, rows, other)
    return rows


def to_other(row, rows, name):
    """How many times `name`'s median on the same engine each of the row's medians is."""
    alike = [r for r in rows if (r["contender"], r["engine"]) == (name, row["engine"])]
    base = alike[0]["median"] if alike else {}
    base = {task: base.get(task, base.get(BASE.get(task))) for task in row["median"]}
    return {task: median / base[task] for task, median in row["median"].items() if base[task]}
