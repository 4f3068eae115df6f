"""A flow: fitted, asked, saved. Its methods give numpy arrays."""

from typing import assert_type

import numpy as np

from flowkit import Flow, zoo
from flowkit.bijectors import ActNorm, Chain, Coupling
from flowkit.conditioners import MLP
from flowkit.data import Batches, batches
from flowkit.latent import interpolate

x = np.zeros((64, 2), "float32")
flow = Flow(Chain([ActNorm(), Coupling(MLP([16]))]))
flow.compile("adam")
history = flow.fit(x, batch_size=32, epochs=2, verbose=0)
losses: list[float] = history.history["loss"]

samples: np.ndarray = flow.sample(4, seed=0)  # of a flow that was fitted on a frame, a frame
assert_type(flow.log_prob(x), np.ndarray)
assert_type(flow.encode(x), np.ndarray)
again: np.ndarray = flow.decode(flow.encode(x))
assert_type(flow.bits_per_dim(x), np.ndarray)
assert_type(flow.adapt(x), Flow)
assert_type(interpolate(flow, x[:1], x[1:2], steps=3), np.ndarray)
flow.save("flow.keras")

ordered = batches(x, batch_size=8, seed=1)
assert_type(ordered, Batches)
assert_type(ordered.epoch, int)
flow.fit(ordered, epochs=1)

glow = zoo.glow(levels=3, steps=2, width=16, input_shape=(8, 8, 3))
assert_type(glow, Flow)
assert_type(zoo.load("glow/digits"), Flow)
