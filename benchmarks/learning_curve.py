"""How many rows and steps are enough: held-out log-likelihood of `fit_table` beside the Gaussian copula's.

    python benchmarks/learning_curve.py                    # fits what is not measured yet, then prints the table
    python benchmarks/learning_curve.py --print

Rows are drawn from one table of `small_data.py`, whose data it needs; 5,000 others are held out, the same for all.
"""

import argparse
import os
import time

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import flowkit  # before Keras, which takes its engine when it is imported

# isort: split
import numpy as np
from measuring.records import Records
from small_data import DRAWS, table_of

from flowkit.diagnostics.verdict import copula

KEY = ("table", "rows", "effort")
TEST = 5000  # rows held out
TABLE, ROWS = "diamonds", (100, 300, 1000, 3000, 10_000)


def measured(frame, rows, effort, seed=0):
    """Return the numbers of a flow of some rows."""
    order = np.random.default_rng(seed).permutation(len(frame))
    test, train = (frame.iloc[some].reset_index(drop=True) for some in (order[:TEST], order[TEST:][:rows]))
    start = time.process_time()
    flow = flowkit.fit_table(train, seed=seed, effort=effort, verbose=0)
    seconds = time.process_time() - start
    codes, wrong = flow.columns.coded(test)
    codes = np.delete(codes, list(wrong), axis=0)
    known = copula(flow, flow.columns.values(train))
    ours, its = (np.asarray(of.log_prob(codes, samples=DRAWS), "float64") for of in (flow, known))
    ahead = ours - its
    return {
        "refused": len(wrong),
        "copula": float(its.mean()),
        "flow": float(ours.mean()),
        "ahead_of_copula": float(ahead.mean()),
        "standard_error": float(ahead.std() / len(ahead) ** 0.5),
        "seconds": round(seconds, 1),
    }


def as_markdown(records, table=TABLE, row_counts=ROWS):
    """Return the table of what was measured."""
    lines = [
        '| rows | copula | `effort="quick"` | `"default"` | ahead | error | refused | seconds |',
        "|---|---|---|---|---|---|---|---|",
    ]
    for rows in row_counts:
        found = [records.find(table=table, rows=rows, effort=effort) for effort in ("quick", "default")]
        if all(found):
            quick, row = found
            nats = (row["copula"], quick["flow"], row["flow"], row["ahead_of_copula"], row["standard_error"])
            cells = [
                f"{rows:,}",
                *(f"{number:.2f}" for number in nats),
                f"{row['refused']}",
                f"{row['seconds']:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--table", default=TABLE)
    add("--rows", type=int, nargs="+", default=list(ROWS))
    add("--efforts", nargs="+", default=["quick", "default"])
    add("--data", default="data")
    add("--out", default="runs/learning_curve.jsonl")
    add("--print", action="store_true")
    options = parser.parse_args()
    records = Records(options.out, key=KEY)
    for rows in options.rows if not options.print else []:
        for effort in options.efforts:
            if records.find(table=options.table, rows=rows, effort=effort) is None:
                frame = table_of(options.table, options.data, most=None)
                row = measured(frame, rows, effort)
                records.add(table=options.table, rows=rows, effort=effort, **row)
                print(rows, effort, row, flush=True)
    print(as_markdown(records, options.table, options.rows))


if __name__ == "__main__":
    main()
