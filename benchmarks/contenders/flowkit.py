"""flowkit, on the engine that Keras runs on.

Training is `fit` with Keras's plain Adam, on a data set that gives the same batch again and again; steps are timed
between two ends of batches within one `fit`. Evaluation is `log_prob` of numpy data, sampling `sample`, both with
answers in numpy: what a user calls, copies from and to the device included. "sampling" is `check=None`, since nobody
else's samples are led back to their latents; "sampling, checked" is `sample` as it comes. Splines and the MAF are the
zoo's, which begin by standardising each feature and by an ActNorm; the others' models do neither, nor have they what
`linear` and `marginals` are.
"""

import functools

import keras
import numpy as np

import flowkit

PACKAGE = "keras-flowkit"


def images(work, x, *, backprop="stored", **compiling):
    if work["precision"] == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    flow = flowkit.zoo.glow(
        levels=work["levels"],
        steps=work["steps"],
        width=work["width"],
        n_bits=None,
        backprop=backprop,
    )
    return Fitted(work, flow, x, **compiling)


def vectors(work, x, **compiling):
    hidden = [work["width"]] * 2
    couplings = [
        flowkit.bijectors.Coupling(flowkit.conditioners.MLP(hidden), swap=bool(i % 2))
        for i in range(work["layers"])
    ]
    return Fitted(work, flowkit.Flow(flowkit.bijectors.Chain(couplings)), x, **compiling)


def splines(work, x, **compiling):
    flow = flowkit.zoo.nsf(**sizes(work), bins=work["bins"], linear="none", marginals=False)
    return Fitted(work, flow, x, **compiling)


def maf(work, x, **compiling):
    return Fitted(work, flowkit.zoo.maf(**sizes(work)), x, **compiling)


def sizes(work):
    return {"features": work["features"], "layers": work["layers"], "hidden": [work["width"]] * 2}


class Fitted:
    def __init__(self, work, flow, x, **compiling):
        self.work, self.flow, self.x = work, flow, x
        self.at_once = compiling.get("steps_per_execution", 1)
        flow.compile(optimizer=keras.optimizers.Adam(1e-4), **compiling)
        flow.adapt(x)  # makes the weights, which belongs to construction; `fit` would do it

    def train(self, steps, lap):
        # A lap for each program; its steps have no ends of their own.
        self.flow.fit(Repeated(self.x, steps * self.at_once), verbose=0, callbacks=[Laps(lap)])

    def log_prob(self):
        return self.flow.log_prob(self.x, batch_size=len(self.x))

    def sample(self):
        return self.flow.sample(len(self.x), batch_size=len(self.x), check=None)

    def sample_checked(self):
        return self.flow.sample(len(self.x), batch_size=len(self.x))

    @functools.cached_property
    def rows(self):
        """The many: the rows of the batch, again and again."""
        return np.resize(self.x, (self.work["many"], *self.x.shape[1:]))

    def log_prob_many(self):
        return self.flow.log_prob(self.rows, batch_size=self.work["many_batch"])

    def sample_many(self):
        return self.flow.sample(self.work["many"], batch_size=self.work["many_batch"], check=None)


class Repeated(keras.utils.PyDataset):
    """The same batch `steps` times."""

    def __init__(self, x, steps):
        super().__init__()
        self.x, self.steps = x, steps

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return (self.x,)


class Laps(keras.callbacks.Callback):
    def __init__(self, lap):
        super().__init__()
        self.lap = lap

    def on_train_batch_end(self, batch, logs=None):
        self.lap()
