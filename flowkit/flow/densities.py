"""What a fitted flow says of the density of data: numpy, batch by batch."""

import functools
import math
from typing import Any

import numpy as np
from keras import ops, tree

from flowkit import distributed
from flowkit.contract.arguments import whole_number
from flowkit.contract.shapes import event_size
from flowkit.data.lazy_images import LazyImages
from flowkit.distributed.failed import failing_together
from flowkit.flow.dequantizing import dequantized_with_volume, varies
from flowkit.flow.embedding import classes_of
from flowkit.flow.in_batches import run_in_batches
from flowkit.flow.noise import counted_for
from flowkit.flow.ready import Ready
from flowkit.flow.turns import answers


class Densities(Ready):
    """The part of `flowkit.Flow` that answers with densities, as numpy arrays."""

    @property
    def num_classes(self) -> int | None:
        """How many classes the labels of a class-conditional flow may name; None for no labels."""
        if self.embedding is not None:
            return classes_of(self.embedding)
        classes = self.bijector.num_classes
        return getattr(self.base, "num_classes", None) if classes is None else classes

    @property
    def exact(self) -> str:
        """What `log_prob` is: "exact", an "estimate" or a "bound".

        One draw of the noise gives an estimate that is right on average, or a lower bound on average, as for
        dequantised data. A bound that is also estimated counts as a bound.
        """
        likelihood = self.bijector.spec.likelihood
        if self.dequantize is not None or "bound" in likelihood:
            return "bound"
        return "exact" if likelihood == "exact" else "estimate"

    def _answered(self, y, context, noise, volume):
        """What the flow answers when it is called; `volume` is the dequantizer's part, if it varies."""
        log_prob = self._log_density(y, context, noise)
        return log_prob if volume is None else log_prob + volume

    def _log_density(self, y, context, noise=None):
        return self._encode_and_score(y, context, noise)[1]

    def _encode_and_score(self, y, context, noise=None):
        z, log_det = self._through(y, context, noise)
        log_prob = self.base.log_prob(z, context=context) + log_det
        if self.dequantize is not None and not varies(self.dequantize):
            log_prob = log_prob + self.dequantize.log_volume(event_size(y.shape))
        return z, log_prob

    @answers
    def log_prob(
        self,
        x: Any,
        context: Any = None,
        *,
        samples: int = 1,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """log p(x) in nats, numpy (batch,): exact, or what `exact` says, with one draw of the noise.

        `samples` = k > 1 draws of the noise give the tighter bound, or the mean of estimates: see `bits_per_dim`.
        The noise of a sample follows from `seed` and its index alone, so neither the batch size nor the
        engine changes the answer. Raises ValueError for k > 1 if log_prob is exact.
        """
        self._check_draws(samples)
        x, context = self._prepare(x, context, batch_size)
        if samples == 1:
            return self._scored_densities(x, context, batch_size, seed)
        log_prob = self._log_prob_of_draws(x, context, batch_size, seed, samples)
        return log_prob.astype(self.compute_dtype)

    def _scored_densities(self, x, context, batch_size, seed, draw=0, first=0):
        """Return log p of the rows of `x`, checked before, as numpy; -inf for a row that overflows on its way.

        A finite row so far out that a layer overflows ends as inf - inf, NaN: its density is 0. If a weight is NaN or
        infinite, NaN stays.
        """
        log_prob = self._scored(self._log_density, x, context, batch_size, seed, draw, first)
        overflown = np.isnan(log_prob)
        if overflown.any() and all(np.isfinite(weight).all() for weight in self.get_weights()):
            log_prob = np.where(overflown, np.array(-np.inf, log_prob.dtype), log_prob)
        return log_prob

    def _scored(self, function, x, context, batch_size, seed, draw=0, first=0):
        """`function(y, context)` of the dequantised data, checked before, in batches, as numpy.

        `first` is the index of the first row among all whose noise differs.
        """

        def score(start, stop, piece):
            x, context = piece
            y, volume = dequantized_with_volume(self, x, first + start, seed=seed, draw=draw)
            noise = counted_for(self, y.shape, first + start, inverse=False, seed=seed, draw=draw)
            answer = self._run(function, y, context, noise)
            return answer if volume is None else ops.convert_to_numpy(answer) + volume

        return run_in_batches(score, (x, context), len(x), self._batch_size(batch_size))

    @answers
    def bits_per_dim(
        self, x: Any, context: Any = None, *, samples: int = 1, batch_size: int | None = None, seed: int = 0
    ) -> np.ndarray:
        """-log_prob / (D ln 2) for each sample, numpy (batch,): bits for each dimension as stored.

        `samples` = k > 1 draws of the noise give the tighter bound log (1/k) sum_i p(x + u_i) if log_prob is a bound
        (Burda, Grosse & Salakhutdinov, 2016), and the mean of log_prob if some part of it is an estimate: of
        exponentials of estimates no mean is a bound. Raises ValueError for k > 1 if log_prob is exact.
        """
        self._check_draws(samples)
        x, context = self._prepare(x, context, batch_size)
        return _in_bits(self._log_prob_of_draws(x, context, batch_size, seed, samples), x.shape)

    def _log_prob_of_draws(self, x, context, batch_size, seed, samples, first=0):
        """What `samples` draws of the noise say of log p together, float64 (batch,): see `bits_per_dim`."""
        score = functools.partial(self._scored_densities, x, context, batch_size, seed, first=first)
        draws = np.asarray([score(draw=draw) for draw in range(samples)], "float64")
        if "estimated" in self.bijector.spec.likelihood:
            return draws.mean(axis=0)
        return functools.reduce(np.logaddexp, draws) - math.log(samples)

    def _check_draws(self, samples):
        if whole_number(samples, "samples", least=1) > 1 and self.exact == "exact":
            raise ValueError(
                f"got samples={samples}, expected samples=1 for a flow whose log_prob is exact. Leave it out."
            )

    @answers
    def _score_in_a_group(self, x, context=None, samples=1):
        """("bits_per_dim", those of all rows), or without `dequantize` ("nll", those): float64 (batch,).

        All processes have `x`. Each reads and scores its part, and is told of all.
        """
        self._check_draws(samples)
        x = self._as_array(x)

        def score(x, context, first):
            return self._log_prob_of_draws(x, context, None, 0, samples, first)

        log_prob = self._shared(score, x, context)
        if self.dequantize is None:
            return "nll", -log_prob
        return "bits_per_dim", _in_bits(log_prob, x.shape)

    def _shared(self, score, x, context):
        """`score(x, context, first)` of all rows of `x`, each process having asked for its part, from row `first` on.

        A row's noise is that of its place among all, so the answer is one process's.
        """
        with failing_together():  # a row may be refused, or its file be damaged
            rows = distributed.mine(np.arange(len(x)))
            # Of fewer rows than processes, one tells the shape of an answer.
            asked = rows if len(rows) else np.arange(1)
            first, stop = int(asked[0]), int(asked[-1]) + 1
            part = x.taken(asked) if isinstance(x, LazyImages) else x[first:stop]
            context = None if context is None else tree.map_structure(lambda c: c[first:stop], context)
            part, context = self._prepare(part, context)
            return distributed.gather(score(part, context, first)[: len(rows)])


def _in_bits(log_prob, shape):
    """-log_prob / (D ln 2), D the entries of an event of data of this shape."""
    return -log_prob / (event_size(shape) * math.log(2))
