"""How flowkit compares with the run that was kept when it was released.

Machines differ, so what is compared is how many times the floor's time everything takes. A figure is called slower if
it is so by more than `MARGIN` beyond noise: twice the standard error of the quotient of both runs' medians, as far as
turns tell it.
"""

import math
import statistics

from measuring.work import tasks_of

MARGIN = 0.05
LEAST_TURNS = 3  # of fewer nobody can say how far they scatter


def against(released, now):
    """What has become slower, as Markdown; what could not be compared is named below. Both as speed.py writes them."""
    kept = {comparison["preset"]: comparison for comparison in released["comparisons"]}
    figures, doubts = [], differences(released["machine"], now["machine"])
    for comparison in now["comparisons"]:
        name = comparison["preset"]
        before = kept.get(name)
        if before is None:
            doubts.append(f"{name}: not in the run that was kept")
        elif before["work"] != comparison["work"]:
            doubts.append(f"{name}: other sizes than in the run that was kept")
        elif min(before["repeats"], comparison["repeats"]) < LEAST_TURNS:
            doubts.append(f"{name}: fewer than {LEAST_TURNS} turns, whose noise is not known")
        else:
            found, missing = compared(before, comparison)
            figures += found
            doubts += missing
    return "\n".join([said(figures, released), *([""] if doubts else []), *(f"- {line}" for line in doubts)])


def differences(before, now):
    """What of the machine may move the ratios themselves."""
    differ = [key for key in ("cpu", "cores", "omp_num_threads") if before[key] != now[key]]
    return [
        f"another machine, which may move the ratios too: {key.replace('_', ' ')} {now[key]}, then {before[key]}"
        for key in differ
    ]


def ratios(rows):
    """{(engine, contender, task): (ratio to the floor, its relative standard error)} of flowkit's rows."""
    floors = {row["engine"]: row["times"] for row in rows if row["contender"] == "floor"}
    found = {}
    for row in rows:
        floor = floors.get(row["engine"], {})
        if not row["contender"].startswith("flowkit"):
            continue
        for task, times in row["times"].items():
            # One that was ended on the way has fewer turns.
            turns = list(zip(times, floor.get(task, []), strict=False))
            if len(turns) >= LEAST_TURNS:
                found[row["engine"], row["contender"], task] = ratio(turns)
    return found


def ratio(turns):
    """Of the medians, as the tables have it, and its noise from the quotients of each turn: neighbours in time."""
    ours, floor = (statistics.median(times) for times in zip(*turns, strict=True))
    scatter = statistics.stdev(math.log(a / b) for a, b in turns)
    # A median's standard error is 1.25 times the mean's, if errors are normal.
    return ours / floor, 1.25 * scatter / math.sqrt(len(turns))


def compared(before, now):
    """([(preset, engine, contender, what, before, now, slower by, noise)], what only one of both has) of one preset."""
    old, new, names = ratios(before["rows"]), ratios(now["rows"]), tasks_of(now["work"])
    asked = {(row["engine"], row["contender"]) for row in now["rows"]}  # of other engines nothing is missed
    figures, missing = [], []
    for key in [*new, *(key for key in old if key not in new and key[:2] in asked)]:
        words = (now["preset"], *key[:2], names[key[2]])
        if key not in new or key not in old:
            which = "this run" if key not in new else "the run that was kept"
            missing.append(f"{', '.join(words)}: not measured beside the floor in {which}")
            continue
        (was, was_error), (is_now, error) = old[key], new[key]
        figures.append((*words, was, is_now, is_now / was - 1, 2 * math.hypot(was_error, error)))
    return figures, missing


def said(figures, released):
    """A row for each figure that is slower, or a line that none is."""
    row = next(r for c in released["comparisons"] for r in c["rows"] if r["contender"].startswith("flowkit"))
    where = released["machine"]
    before = f"flowkit {row.get('version', '')} of {where['date']} ({where['cpu']}, {where['cores']} cores)"
    slower = [figure for figure in figures if figure[-2] > MARGIN + figure[-1]]
    if not slower:
        return f"Against {before}: of {len(figures)} figures none is slower by more than {MARGIN:.0%} beyond noise."
    lines = [
        f"SLOWER than {before} by more than {MARGIN:.0%} beyond noise, in times of the floor, {len(slower)} of "
        f"{len(figures)} figures:",
        "",
        "| preset | backend | | what | then | now | slower by | noise |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for *names, was, is_now, by, noise in slower:
        lines.append(f"| {' | '.join(names)} | {was:.2f} | {is_now:.2f} | {by:.0%} | {noise:.0%} |")
    return "\n".join(lines)
