"""One contender in a process of its own: measures when it is told to, and waits idle in between."""

import contextlib
import importlib
import importlib.metadata
import json
import math
import os
import resource
import sys
import time
import warnings

import numpy as np
from measuring.work import event

LEAST = 0.2  # seconds that are timed together


def serve(contender, work):
    """Answer each line of standard input, the name of a task, by a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # should memory run out, this process is the one to go
    warnings.filterwarnings("ignore")

    def answer(**facts):
        print(json.dumps(facts), file=answers, flush=True)

    _, engine, module, options = contender
    try:
        measured = Measured(engine, module, options, work)
    except ModuleNotFoundError as error:
        return answer(left_out=f"not installed ({error})")
    except Exception as error:  # a peer may raise anything
        return answer(left_out=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    answer(**measured.facts)
    for line in sys.stdin:
        task = line.strip()
        if task == "peaks":
            answer(**measured.peaks())
        elif measured.can(task):
            answer(seconds=measured.once(task))
        else:
            answer()


class Measured:
    def __init__(self, engine, module, options, work):
        self.engine = importlib.import_module(f"measuring.{engine}_device")
        self.engine.set_precision(work["precision"])
        module = importlib.import_module(f"contenders.{module}")
        kind = work["kind"].removeprefix("large ")
        if not hasattr(module, kind):
            raise NotImplementedError(f"has no model of {kind}")
        x = np.random.default_rng(0).normal(size=(work["batch"], *event(work))).astype("float32")
        self.engine.wait()  # the device is there before the clock starts
        start = time.perf_counter()
        self.contender = getattr(module, kind)(work, x, **options)
        self.engine.wait()
        made = time.perf_counter()
        self.contender.train(1, lambda: None)
        self.engine.wait()
        self.facts = {
            "construction": made - start,
            "first_step": time.perf_counter() - start,
            "version": importlib.metadata.version(module.PACKAGE),
            **self.engine.facts(),
        }
        self.calls = {}

    def can(self, task):
        return hasattr(self.contender, task)

    def once(self, task):
        """Seconds of one call; several are timed together where one is too short to time."""
        if task not in self.calls:
            self.calls[task] = 1
            if task != "train":  # which has had its first step
                self.timed(task)  # compiles, and must not count in how long a call takes
            seconds = self.timed(task)
            self.calls[task] = min(100, max(1, math.ceil(LEAST / seconds)))
            if self.calls[task] == 1:
                return seconds
        return self.timed(task)

    def timed(self, task):
        calls = self.calls[task]
        if task == "train":
            return self.steps(calls)
        self.engine.wait()
        start = time.perf_counter()
        for _ in range(calls):
            # Each, as for numpy: JAX would run several at once.
            self.engine.wait(getattr(self.contender, task)())
        return (time.perf_counter() - start) / calls

    def steps(self, calls):
        """From the end of a first step, with which loops begin, to the end of the last."""
        times = []

        def lap():
            if len(times) in (0, calls):
                self.engine.wait()
            times.append(time.perf_counter())

        self.contender.train(1 + calls, lap)
        return (times[-1] - times[0]) / (calls * getattr(self.contender, "at_once", 1))

    def peaks(self):
        """Peak memory in bytes, of the process and where there is one of the device."""
        unit = 1 if sys.platform == "darwin" else 1024
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"process_peak": process, "device_peak": self.engine.peak()}
