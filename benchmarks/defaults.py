"""Spline flows as each library makes them by default: held-out log-likelihood after equal steps of Adam.

    python benchmarks/defaults.py          # trains what is not measured yet, then prints the table
    python benchmarks/defaults.py --print

Each contender gets the same standardised rows, batches of 128 and Adam at 0.001. flowkit and zuko make flows from
the number of columns alone; normflows has no default, and gets the sizes of its own tutorial. "Best" is the test rows'
mean of log p at the epoch that is best on the rows for validation, with epoch 0, before the first step; "last" is that
after the last epoch. Needs scikit-learn, zuko and normflows.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import numpy as np
from measuring.records import Records

KEY = ("data", "contender", "seed")
BATCH, RATE = 128, 1e-3
EPOCHS = {"digits": 100, "checkerboard": 40, "moons": 40}
WORDS = {
    "digits": "digits, 20 principal components",
    "checkerboard": "checkerboard",
    "moons": "two moons",
}


def rows_of(name, seed):
    """Return (train, valid, test), standardised by the first."""
    from sklearn import datasets, decomposition

    rng = np.random.default_rng(seed)
    if name == "digits":
        x = decomposition.PCA(20, random_state=0).fit_transform(datasets.load_digits().data)
        cuts = 1297, 1547
    elif name == "moons":
        x, cuts = datasets.make_moons(4000, noise=0.05, random_state=seed)[0], (2000, 2500)
    else:
        x = rng.uniform(-2, 2, (8000, 2))
        x, cuts = x[(np.floor(x).sum(axis=1) % 2 == 0)][:3500], (2000, 2500)
    train, valid, test = np.split(rng.permutation(x), cuts)
    center, scale = train.mean(axis=0), train.std(axis=0)
    return [((part - center) / scale).astype("float32") for part in (train, valid, test)]


def of_flowkit(features):
    """Return (train for an epoch on shuffled rows, log_prob of rows, what comes before the first step)."""
    flow = flowkit.zoo.nsf(features=features)
    flow.compile(optimizer=keras.optimizers.Adam(RATE))
    return (
        lambda x: flow.fit(x, batch_size=BATCH, epochs=1, shuffle=False, verbose=0),
        flow.log_prob,
        flow.adapt,
    )


def of_torch(log_prob, parameters):
    """Return the same of a module."""
    import torch

    adam = torch.optim.Adam(parameters, RATE)

    def epoch(x):
        for batch in torch.from_numpy(x).split(BATCH):
            adam.zero_grad()
            (-log_prob(batch).mean()).backward()
            adam.step()

    def score(x):
        with torch.no_grad():
            return log_prob(torch.from_numpy(x)).numpy()

    return epoch, score, lambda x: None


def of_zuko(features):
    import zuko

    flow = zuko.flows.NSF(features)
    return of_torch(lambda x: flow().log_prob(x), flow.parameters())


def of_normflows(features):
    import normflows as nf

    layers = []
    for _ in range(16):
        layers += [
            nf.flows.AutoregressiveRationalQuadraticSpline(features, 2, 128),
            nf.flows.LULinearPermute(features),
        ]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), layers)
    return of_torch(flow.log_prob, flow.parameters())


CONTENDERS = {"flowkit": of_flowkit, "zuko": of_zuko, "normflows": of_normflows}


def measured(name, contender, seed):
    """Return the figures of one training."""
    keras.utils.set_random_seed(seed)
    train, valid, test = rows_of(name, seed)
    rng = np.random.default_rng(seed)
    begun = time.process_time()
    epoch, score, adapt = CONTENDERS[contender](train.shape[1])
    adapt(train)
    found = [(score(valid).mean(), score(test).mean())]
    for _ in range(EPOCHS[name]):
        epoch(rng.permutation(train))
        found.append((score(valid).mean(), score(test).mean()))
    best = max(range(len(found)), key=lambda number: found[number][0])
    return {
        "start": float(found[0][1]),
        "best": float(found[best][1]),
        "best_epoch": best,
        "last": float(found[-1][1]),
        "seconds": round(time.process_time() - begun, 1),
    }


def as_markdown(records):
    """Return the table of seed 0."""
    lines = ["| data | | before training | best | last | processor seconds |", "|---|---|---|---|---|---|"]
    for name, words in WORDS.items():
        for contender in CONTENDERS:
            if row := records.find(data=name, contender=contender, seed=0):
                nats = [f"{row[key]:.2f}" for key in ("start", "best", "last")]
                lines.append(f"| {' | '.join([words, contender, *nats, format(row['seconds'], '.0f')])} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--data", nargs="+", choices=EPOCHS, default=list(EPOCHS), metavar="NAME")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    add("--seeds", type=int, default=1)
    add("--out", default=str(Path(__file__).with_suffix(".jsonl")))
    add("--print", action="store_true")
    options = parser.parse_args()
    records = Records(options.out, key=KEY)
    for seed in range(0 if options.print else options.seeds):
        for name in options.data:
            for contender in options.contenders:
                place = dict(zip(KEY, (name, contender, seed), strict=True))
                if records.find(**place) is None:
                    records.add(**place, **measured(name, contender, seed))
                    print(records.find(**place), flush=True)
    print(as_markdown(records))


if __name__ == "__main__":
    main()
