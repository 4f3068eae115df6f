"""Posteriors of simulators whose posteriors are known, ours beside those of sbi, after equal simulations.

    KERAS_BACKEND=torch python benchmarks/posteriors.py      # trains what is not measured yet; then prints the table
    python benchmarks/posteriors.py --tasks moons slcp --simulations 2000 --contenders nle sbi-nle
    python benchmarks/posteriors.py --print

Each contender receives the same pairs and its own defaults: `flowkit.posterior` with method "npe" or "nle", or with
splines that end at 3 as sbi's do, sbi's NPE with its default flow and with its spline flow, and its NLE. Measured are

- the mean of -log q(theta | x) over 2,000 new pairs, in nats (npe only);
- C2ST by `flowkit.evaluation.c2st`, of 1,000 draws against exact ones, the mean over observations: 0.5 is best;
- seconds of the processor for training.

Each measurement is a line of JSON in `--out`. sbi needs `pip install 'sbi>=0.27'`, which brings PyTorch and nflows.
"""

import argparse
import functools
import os
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
from simulators import TASKS

NEW, DRAWS = 2000, 1000
KEY = ("task", "contender", "engine", "simulations", "seed")
SIZES = (500, 2000, 10_000)
COMPARED = {"flowkit": "flowkit", "sbi-maf": "maf", "sbi": "nsf"}
FIGURES = (("-log q", "nll", ".2f"), ("C2ST", "c2st", ".2f"), ("seconds", "seconds", ".0f"))


def of_flowkit(task, pairs, seed, method="npe", **options):
    """Return (log_prob of pairs, draws of observations) of our posterior."""
    prior = task.box
    if prior is None:
        prior = flowkit.Flow(flowkit.bijectors.Scale(-float(np.log(task.deviation[0]))))
        prior.build((None, len(task.deviation)))
    posterior = flowkit.posterior(None, prior, pairs=pairs, method=method, seed=seed, verbose=0, **options)
    return posterior.log_prob, lambda n, x: posterior.sample(n, x, seed=seed)


def of_nle(task, pairs, seed):
    """Return the same of a likelihood, whose densities lack a constant."""
    return None, of_flowkit(task, pairs, seed, "nle")[1]


def of_sbi(task, pairs, seed, network="maf"):
    """Return the same of sbi's NPE, whose default network is a MAF."""
    import torch
    from sbi.inference import NPE
    from sbi.neural_nets import posterior_nn

    tensor = torch.from_numpy
    estimator, posterior = trained_by_sbi(NPE, posterior_nn(model=network), task, pairs, seed)

    def log_prob(theta, x):
        with torch.no_grad():
            found = estimator.log_prob(tensor(theta)[None], condition=tensor(x))[0].numpy()
        if task.box is None:
            return found
        # Its draws outside of the prior are drawn anew: the density inside is higher by their share.
        with torch.no_grad():
            drawn = estimator.sample((200,), condition=tensor(x[:500])).numpy()
        low, high = np.array(task.box).T
        inside = ((drawn > low) & (drawn < high)).all(axis=-1).mean(axis=0)
        # Of some observations none of 200 draws may be inside.
        return found - np.log(np.maximum(inside, 1 / 200)).mean()

    def draws(n, x):
        return posterior.sample((n,), x=tensor(x), show_progress_bars=False).numpy()

    return log_prob, draws


def of_sbi_nle(task, pairs, seed):
    """Return the same of the likelihood that sbi's NLE learns, and of its slice sampler."""
    import torch
    from sbi.inference import NLE

    _, posterior = trained_by_sbi(NLE, "maf", task, pairs, seed)
    return None, lambda n, x: posterior.sample((n,), x=torch.from_numpy(x), show_progress_bars=False).numpy()


def trained_by_sbi(method, network, task, pairs, seed):
    """Return (estimator, posterior) of a method of sbi, with its own defaults."""
    import torch
    from sbi.utils import BoxUniform
    from sbi.utils.tracking import TensorBoardTracker
    from torch.utils.tensorboard import SummaryWriter

    torch.manual_seed(seed)
    if task.box is not None:
        prior = BoxUniform(*torch.tensor(task.box, dtype=torch.float32).T)
    else:
        deviation = torch.tensor(task.deviation, dtype=torch.float32)
        prior = torch.distributions.MultivariateNormal(torch.zeros(len(deviation)), torch.diag(deviation**2))
    # Otherwise it leaves its logs in the working folder.
    logs = TensorBoardTracker(SummaryWriter(tempfile.mkdtemp()))
    inference = method(prior=prior, density_estimator=network, show_progress_bars=False, tracker=logs)
    inference.append_simulations(*map(torch.from_numpy, pairs))
    estimator = inference.train()
    return estimator, inference.build_posterior(estimator)


CONTENDERS = {
    "sbi-maf": of_sbi,
    "sbi": functools.partial(of_sbi, network="nsf"),
    "flowkit": of_flowkit,
    "bound3": functools.partial(of_flowkit, bound=3.0),
    "sbi-nle": of_sbi_nle,
    "nle": of_nle,
}


def measured(name, contender, simulations, seed, observations):
    """Return the figures of one training."""
    task = TASKS[name]
    pairs = task.pairs(simulations, np.random.default_rng(seed))
    start = time.process_time()
    log_prob, draws = CONTENDERS[contender](task, pairs, seed)
    seconds = time.process_time() - start
    rng = np.random.default_rng([seed, 1])
    theta, x = task.pairs(NEW, rng)
    nll = None if log_prob is None else -float(np.mean(log_prob(theta, x), dtype="float64"))
    scores = [
        flowkit.evaluation.c2st(task.reference(row, DRAWS, rng), draws(DRAWS, row), folds=3, epochs=60)
        for row in x[:observations]
    ]
    return {"c2st": float(np.mean(scores)), "observations": observations, "nll": nll, "seconds": seconds}


def as_markdown(records):
    """Return a row for each task and number of simulations with all of `COMPARED` on PyTorch, seed 0."""
    heads = [f"{kind}: {words}" for kind, *_ in FIGURES for words in COMPARED.values()]
    lines = [f"| task | simulations | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    place = {"engine": "torch", "seed": 0}
    for name, task in TASKS.items():
        for size in SIZES:
            rows = [records.find(**place, task=name, contender=each, simulations=size) for each in COMPARED]
            if all(rows):
                cells = [f"{row[key]:{digits}}" for _, key, digits in FIGURES for row in rows]
                lines.append(f"| {task.words} | {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(COMPARED), metavar="NAME")
    add("--simulations", nargs="+", type=int, default=list(SIZES))
    add("--seeds", type=int, default=1)
    add("--observations", type=int, default=3)
    add("--out", default=str(Path(__file__).parent / "posteriors.jsonl"))
    add("--print", action="store_true")
    options = parser.parse_args()
    records = Records(options.out, key=KEY)
    for seed in range(0 if options.print else options.seeds):
        for simulations in options.simulations:
            for name in options.tasks:
                for contender in options.contenders:
                    engine = "torch" if contender.startswith("sbi") else keras.backend.backend()
                    place = dict(zip(KEY, (name, contender, engine, simulations, seed), strict=True))
                    if records.find(**place) is None:
                        row = measured(name, contender, simulations, seed, options.observations)
                        records.add(**place, **row)
                        print(place, row, flush=True)
    print(as_markdown(records))


if __name__ == "__main__":
    main()
