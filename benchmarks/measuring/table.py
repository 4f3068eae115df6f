"""What was measured, as Markdown."""

from measuring.work import MANY, in_words, tasks_of, turns_of


def heading(machine, rows):
    """One paragraph: the machine, and the versions of all that took part."""
    versions, devices = {}, {}
    for row in rows:
        if "version" in row:
            versions[row["engine"]] = row["engine_version"]
            if row["contender"] not in ("floor", "twin"):  # which are the engine alone
                versions[row["contender"].split()[0]] = row["version"]
            threads = f", {row['threads']} threads" if row["threads"] else ""
            devices[f"{row['engine']} on {row['device']}{threads}"] = None
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    omp = machine["omp_num_threads"]
    return (
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores"
        + (f", load {machine['load_before']:.1f} before" if machine["load_before"] is not None else "")
        + (f", OMP_NUM_THREADS={omp}" if omp else "")
        + f"; {'; '.join(devices)}. Python {machine['python']}, {named}."
    )


def comparison(work, rows, repeats):
    """A row for each contender; those that were left out are named below."""
    measured = [row for row in rows if "left_out" not in row]
    names = tasks_of(work)
    tasks = [task for task in names if any(task in row["median"] for row in measured)]
    fewer = [names[task] for task in tasks if turns_of(task, repeats) < repeats]
    turns = f", {turns_of(next(iter(MANY)), repeats)} for {' and '.join(fewer)}" if fewer else ""
    lines = [
        f"{in_words(work)}; medians of {repeats} in turns{turns}. In brackets: times the floor, times flowkit.",
        "",
        f"| backend | | {' | '.join(names[t] for t in tasks)} | first step (construction) | peak memory |",
        "|---|---|" + "---|" * (len(tasks) + 2),
    ]
    for row in measured:
        cells = [timed(row, task) for task in tasks]
        peak = f"{(row['device_peak'] or row['process_peak']) / 1e6:.0f} MB"
        lines.append(
            f"| {row['engine']} | {row['contender']} | {' | '.join(cells)} "
            f"| {row['first_step']:.2f} s ({row['construction']:.2f}) | {peak} |"
        )
    left = [row for row in rows if "left_out" in row]
    lines += (
        ["", *(f"- {row['contender']} on {row['engine']}: {row['left_out']}" for row in left)] if left else []
    )
    return "\n".join(lines)


def timed(row, task):
    if task not in row["median"]:
        return "-"
    seconds = row["median"][task]
    text = f"{seconds:.3f} s" if seconds >= 0.1 else f"{1000 * seconds:.2f} ms"
    ratios = [row[f"to_{other}"].get(task) for other in ("floor", "flowkit")]
    return f"{text} ({', '.join('-' if r is None else f'{r:.2f}' for r in ratios)})"


def latency(rows):
    """First steps against depth: a column for each number of steps per level."""
    depths = sorted({row["steps"] for row in rows})
    found = {(row["engine"], row["contender"], row["steps"]): row for row in rows}
    lines = [
        "First step, from the construction of the model to the end of its first training step, each in a new process:",
        "",
        f"| backend | | {' | '.join(f'{depth} steps per level' for depth in depths)} | last to first |",
        "|---|---|" + "---|" * (len(depths) + 1),
    ]
    for engine, name in dict.fromkeys((row["engine"], row["contender"]) for row in rows):
        seconds = [found[engine, name, depth].get("first_step") for depth in depths]
        cells = ["-" if s is None else f"{s:.2f} s" for s in seconds]
        growth = f"{seconds[-1] / seconds[0]:.1f}" if None not in seconds else "-"
        lines.append(f"| {engine} | {name} | {' | '.join(cells)} | {growth} |")
    return "\n".join(lines)
