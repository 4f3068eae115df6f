"""How many rows of heavy-tailed data do not come back from their latents, by the scale of the affine couplings.

    KERAS_BACKEND=torch python benchmarks/round_trip.py 0 1 2     # seeds; two to three minutes of a core for each line
    KERAS_BACKEND=jax python benchmarks/round_trip.py 0 --steps 500 --scales sigmoid min_scale

32 couplings on 19 independent columns from a Student-t distribution with 2 degrees of freedom, whose tails reach
hundreds of times as far as their middle. A row is lost if decode(encode(x)) is off by more than 1e-3 of its size, as
`flow.encode(x, check=...)` measures it. Prints, for each scale and seed: rows lost of 2,000 held out, the largest
error, and the mean negative log-likelihood in nats.
"""

import argparse
import warnings

import flowkit  # before Keras: it takes the engine from KERAS_BACKEND

# isort: split
import keras
import numpy as np

from flowkit.bijectors import Chain, Coupling, Permute
from flowkit.conditioners import MLP
from flowkit.transforms import Affine

COLUMNS, COUPLINGS, HELD_OUT = 19, 32, 2000
SCALES = {"sigmoid": Affine(), "min_scale": Affine(min_scale=0.1), "tanh": Affine("tanh")}


def trained(x, transform, steps, seed):
    keras.utils.set_random_seed(seed)
    parts = []
    for _ in range(COUPLINGS):
        parts += [Permute("shuffle"), Coupling(MLP([64, 64]), transform)]
    flow = flowkit.Flow(Chain(parts))
    flow.compile(flowkit.training.GuardedOptimizer(keras.optimizers.Adam(1e-3)))
    flow.fit(x, batch_size=len(x) // steps, epochs=1, verbose=0)
    return flow


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--scales", nargs="+", choices=SCALES, default=list(SCALES))
    args = parser.parse_args()
    print(f"{keras.backend.backend()}, {args.steps} steps of 256")
    for scale in args.scales:
        for seed in args.seeds:
            rng = np.random.default_rng(seed)
            x = rng.standard_t(2, size=(256 * args.steps + HELD_OUT, COLUMNS)).astype("float32")
            flow = trained(x[:-HELD_OUT], SCALES[scale], args.steps, seed)
            held_out = x[-HELD_OUT:]
            error = flow.round_trip_error(held_out)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                flow.encode(held_out)
            nll = -flow.log_prob(held_out).astype("float64").mean()
            warned = ", warned" if any("do not come back" in str(one.message) for one in caught) else ""
            print(
                f"{scale}, seed {seed}: {(error > 1e-3).sum()} lost, {error.max():.1e}, {nll:.1f} nats{warned}",
                flush=True,
            )


if __name__ == "__main__":
    main()
