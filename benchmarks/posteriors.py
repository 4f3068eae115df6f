"""What posteriors of docs/posteriors.md lose against the exact ones, ours beside those of sbi, after few simulations.

    KERAS_BACKEND=torch python benchmarks/posteriors.py      # trains what is not measured yet; then prints the table
    KERAS_BACKEND=jax python benchmarks/posteriors.py --contenders flowkit embedding
    python benchmarks/posteriors.py --print

The line of that page. Each contender is given the same pairs, a tenth of which tell when to stop, and Adam with the
same rate and batches. It is tested with the weights that were best on that tenth, by `log_prob` of new pairs. Each
measurement is a line of JSON in `--out`. sbi needs `pip install 'sbi>=0.27'`, which brings PyTorch and nflows.
"""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import flowkit  # before Keras, which takes its engine when it is imported

# isort: split
import keras
import numpy as np
from measuring.records import Records

PAGE = Path(__file__).parents[1] / "docs" / "posteriors.md"
NEW = 2000  # pairs that are tested on
LAYERS, WIDTH, BINS = 5, 50, 10  # those that sbi takes unless told otherwise
RATE, BATCH, PATIENCE = 5e-4, 200, 20


def line(seed, simulations):
    """(theta, series) to train on and to test on, and the exact log-density: the page's own code."""
    names = {}
    block = re.search(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)[1]
    exec(compile(block, str(PAGE), "exec"), names)
    names["rng"] = np.random.default_rng(seed)
    pairs = []
    for count in (simulations, NEW):
        theta = names["line_prior"](count)
        pairs += [theta.astype("float32"), names["line"](theta).astype("float32")]
    return pairs, names["exact_log_prob"]


def of_flowkit(theta, series, seed, epochs, embedding=None):
    """(log_prob of pairs, epochs it took) of our spline flow."""
    keras.utils.set_random_seed(seed)
    held = len(theta) // 10
    flow = flowkit.zoo.nsf(
        features=theta.shape[1],
        context=series.shape[1],
        layers=LAYERS,
        hidden=[WIDTH, WIDTH],
        bins=BINS,
        embedding=embedding,
    )
    flow.compile(keras.optimizers.Adam(RATE))
    stop = flowkit.training.Validation(theta[:held], series[:held], early_stopping=PATIENCE, keep_best=True)
    rest = slice(held, None)
    done = flow.fit(
        theta[rest],
        context=series[rest],
        batch_size=BATCH,
        epochs=epochs,
        verbose=0,
        callbacks=[stop],
    )
    return flow.log_prob, len(done.epoch)


def with_embedding(theta, series, seed, epochs):
    """The same, of what the page's network makes of a series."""
    reader = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dense(8)])
    return of_flowkit(theta, series, seed, epochs, reader)


def of_sbi(theta, series, seed, epochs):
    """The same of sbi's own spline flow."""
    import torch
    from sbi.inference import NPE
    from sbi.neural_nets import posterior_nn
    from sbi.utils.tracking import TensorBoardTracker
    from torch.utils.tensorboard import SummaryWriter

    torch.manual_seed(seed)
    tensor = torch.from_numpy
    net = posterior_nn(model="nsf", hidden_features=WIDTH, num_transforms=LAYERS, num_bins=BINS)
    # Otherwise it leaves its logs in the working folder.
    logs = TensorBoardTracker(SummaryWriter(tempfile.mkdtemp()))
    inference = NPE(density_estimator=net, show_progress_bars=False, tracker=logs)
    inference.append_simulations(tensor(theta), tensor(series))
    estimator = inference.train(
        training_batch_size=BATCH,
        learning_rate=RATE,
        validation_fraction=0.1,
        stop_after_epochs=PATIENCE,
        max_num_epochs=epochs,
    )

    def log_prob(theta, series):
        with torch.no_grad():
            return estimator.log_prob(tensor(theta)[None], condition=tensor(series))[0].numpy()

    return log_prob, inference.summary["epochs_trained"][-1]


CONTENDERS = {
    "sbi": (of_sbi, "`sbi`, its `nsf`"),
    "flowkit": (of_flowkit, "`flowkit.zoo.nsf`, without an embedding"),
    "embedding": (with_embedding, "the same with the embedding of this page"),
}


def measured(contender, seed, simulations, epochs):
    (theta, series, true, seen), exact = line(seed, simulations)
    start = time.process_time()
    log_prob, took = CONTENDERS[contender][0](theta, series, seed, epochs)
    seconds = time.process_time() - start
    lost = exact(true, seen) - np.asarray(log_prob(true, seen), "float64")
    on_known = np.mean(log_prob(theta[simulations // 10 :], series[simulations // 10 :]), dtype="float64")
    return {
        "lost": float(lost.mean()),
        "error": float(lost.std() / np.sqrt(len(lost))),
        "epochs": int(took),
        "trained_nll": -float(on_known),  # of pairs that ours is trained on; sbi holds out others
        "exact_nll": -float(exact(theta, series).mean()),
        "seconds": seconds,
    }


def as_markdown(records, options):
    """A row for each contender and engine: means over seeds, with the least and the most where there are several."""
    lines = [
        "| | engine | lost, nats | standard error | epochs | seconds of the processor |",
        "|---|---|---|---|---|---|",
    ]
    for contender, (_, words) in CONTENDERS.items():
        for engine in ("torch", "jax", "tensorflow"):
            about = {"contender": contender, "engine": engine, "simulations": options.simulations}
            rows = [records.find(**about, most=options.epochs, seed=seed) for seed in range(options.seeds)]
            rows = [row for row in rows if row]
            if rows:
                error = np.mean([row["error"] for row in rows])
                cells = [spread(rows, "lost", ".2f"), f"{error:.2f}", spread(rows, "epochs", ".0f")]
                lines.append(
                    f"| {words} | {engine} | {' | '.join([*cells, spread(rows, 'seconds', '.0f')])} |"
                )
    return "\n".join(lines)


def spread(rows, name, digits):
    values = [row[name] for row in rows]
    told = f"{np.mean(values):{digits}}"
    return told if len(values) == 1 else f"{told} ({min(values):{digits}} to {max(values):{digits}})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    add("--seeds", type=int, default=3)
    add("--simulations", type=int, default=5000)
    add("--epochs", type=int, default=100)
    add("--out", default="runs/posteriors.jsonl")
    add("--print", action="store_true")
    options = parser.parse_args()
    records = Records(options.out, key=("contender", "engine", "simulations", "most", "seed"))
    for seed in range(0 if options.print else options.seeds):
        for contender in options.contenders:
            engine = "torch" if contender == "sbi" else keras.backend.backend()
            place = {"contender": contender, "engine": engine, "seed": seed}
            place |= {"simulations": options.simulations, "most": options.epochs}
            if records.find(**place) is None:
                row = measured(contender, seed, options.simulations, options.epochs)
                records.add(**place, **row)
                print(f"{contender} on {engine}, seed {seed}: {row['lost']:.3f} lost", flush=True)
    print(as_markdown(records, options))


if __name__ == "__main__":
    main()
