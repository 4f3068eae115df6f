"""Posteriors of simulators whose posteriors are known, ours beside those of sbi, after equal simulations.

    KERAS_BACKEND=torch python benchmarks/posteriors.py      # trains what is not measured yet; then prints the table
    python benchmarks/posteriors.py --tasks moons slcp --simulations 1000 --contenders flowkit nle --seeds 1
    python benchmarks/posteriors.py --print

Each contender receives the same pairs and its own defaults: `flowkit.posterior` with method "npe" or "nle", or with
splines that end at 3 as sbi's do, and sbi's NPE with its spline flow and its NLE. Measured are

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


def of_sbi(task, pairs, seed):
    """Return the same of sbi's spline flow."""
    import torch
    from sbi.inference import NPE
    from sbi.neural_nets import posterior_nn

    tensor = torch.from_numpy
    estimator, posterior = trained_by_sbi(NPE, posterior_nn(model="nsf"), task, pairs, seed)

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
    "sbi": (of_sbi, "`sbi`, NPE, its `nsf`"),
    "flowkit": (of_flowkit, "`flowkit.posterior`"),
    "bound3": (functools.partial(of_flowkit, bound=3.0), "`flowkit.posterior(bound=3)`"),
    "sbi-nle": (of_sbi_nle, "`sbi`, NLE, its `maf`"),
    "nle": (of_nle, '`flowkit.posterior(method="nle")`'),
}


def measured(name, contender, simulations, seed, observations):
    """Return the figures of one training."""
    task = TASKS[name]
    pairs = task.pairs(simulations, np.random.default_rng(seed))
    start = time.process_time()
    log_prob, draws = CONTENDERS[contender][0](task, pairs, seed)
    seconds = time.process_time() - start
    rng = np.random.default_rng([seed, 1])
    theta, x = task.pairs(NEW, rng)
    nll = None if log_prob is None else -float(np.mean(log_prob(theta, x), dtype="float64"))
    scores = [
        flowkit.evaluation.c2st(task.reference(row, DRAWS, rng), draws(DRAWS, row), folds=3, epochs=60)
        for row in x[:observations]
    ]
    return {"c2st": float(np.mean(scores)), "observations": observations, "nll": nll, "seconds": seconds}


def as_markdown(records, options):
    """Return a row for each task, size and contender: means over seeds, with the least and the most."""
    lines = [
        "| task | simulations | | backend | C2ST | -log q, nats | processor seconds | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, task in TASKS.items():
        for simulations in options.simulations:
            for contender, (_, words) in CONTENDERS.items():
                for engine in ("torch", "jax", "tensorflow"):
                    about = {
                        "task": name,
                        "contender": contender,
                        "engine": engine,
                        "simulations": simulations,
                    }
                    rows = [records.find(**about, seed=seed) for seed in range(options.seeds)]
                    if rows := [row for row in rows if row]:
                        cells = [task.words, f"{simulations:,}", words, engine]
                        cells += [spread(rows, "c2st", ".2f"), spread(rows, "nll", ".2f")]
                        lines.append(
                            f"| {' | '.join([*cells, spread(rows, 'seconds', '.0f'), str(len(rows))])} |"
                        )
    return "\n".join(lines)


def spread(rows, name, digits):
    values = [row[name] for row in rows if row[name] is not None]
    if len(values) < 2:
        return f"{values[0]:{digits}}" if values else ""
    return f"{np.mean(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    add("--simulations", nargs="+", type=int, default=[4000])
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
    print(as_markdown(records, options))


if __name__ == "__main__":
    main()
