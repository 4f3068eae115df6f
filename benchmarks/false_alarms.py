"""Run the checker many times, with other draws each time, over correct but awkward bijectors: it should find nothing.

    KERAS_BACKEND=torch python benchmarks/false_alarms.py 50     # from the repository's root

Prints each alarm with the line that replays it, and how many runs there were.
"""

import sys
import time

import flowkit  # noqa: F401  (chooses the engine)

# isort: split
from flowkit.engines import engine
from flowkit.testing import check_bijector
from tests.testing.awkward_bijectors import AWKWARD

CASES = AWKWARD

# What depends on what is drawn; the other clauses try one fixed example.
DRAWN = [
    "round trip",
    "inverse round trip",
    "codomain",
    "domain",
    "log-det",
    "inverse log-det",
    "finite gradient",
]


def main(repeats):
    start, alarms = time.time(), 0
    for case in CASES:
        for seed in range(repeats):
            report = check_bijector(
                case.make,
                event_shapes=case.event_shapes,
                context=case.context,
                waived=case.waived,
                examples=10,
                clauses=DRAWN,
                seed=seed,
                raises=False,
            )
            for result in report.broken:
                alarms += 1
                print(f"{case.name}, seed {seed}: {result.error}", flush=True)
    minutes = (time.time() - start) / 60
    print(f"{engine.name}: {alarms} alarms in {repeats} runs of {len(CASES)} bijectors, {minutes:.0f} min")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
