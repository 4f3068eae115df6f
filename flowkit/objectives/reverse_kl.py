"""Variational inference: train a flow on a density that can be evaluated, by a divergence from the flow to it."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Fraction, Number
from flowkit.objectives.objective import Objective, expect_shape

LEAST = 0.01
"""The power of the density at the first step of an annealed training (Rezende & Mohamed, 2015)."""


class ReverseKL(Objective):
    """log q(x) - log p(x) for draws x of the flow q: its mean is KL(q || p) - log Z, for p that integrates to Z.

    Training needs no data: `flow.fit(steps_per_epoch=1000, batch_size=256)`. The loss is in nats; its minimum is
    -log Z, reached by q = p / Z. `flowkit.inference_report` measures the result.

    - `log_density`: log p(x), up to a constant, from (batch, *event) to (batch,), in `keras.ops` or the functions of
      the backend. For a flow with a context it is called as `log_density(x, context)`, with one row of the context for
      each draw. A saved flow keeps it if it is registered with `keras.saving.register_keras_serializable`.
    - `stick_the_landing`: take the gradient of log q(x) through x only and leave out the gradient with respect to the
      weights of q at fixed x. That part has mean 0; without it the gradient has no noise at q = p. It costs one more
      pass from x to the latents (Roeder, Wu & Duvenaud, Sticking the Landing, 2017).
    - `alpha`: 1 is the divergence above. Other numbers minimise Rényi's divergence of this order, estimated from the
      batch: the loss is -log(mean(w^(1 - alpha))) / (1 - alpha), w = p(x) / q(x), the same for all rows. Orders below
      1 cover more of p; 0 is the importance-weighted bound. The estimate needs large batches: its bias is about 1 over
      the batch size (Li & Turner, Rényi Divergence Variational Inference, 2016; with `stick_the_landing` the gradient
      is that of Tucker, Lawson, Gu & Maddison, Doubly Reparameterized Gradient Estimators, 2019).
    - `anneal`: the part of `fit` during which log p is multiplied by a number that grows linearly from 0.01 to 1, so
      that the flow finds distant modes before it fits them (Rezende & Mohamed, Variational Inference with Normalizing
      Flows, 2015). A second `fit` anneals again.

    For a flow with a bound as its likelihood, such as one with `Augment`, use `stick_the_landing=False`: the mean of
    the loss is then an upper bound of the divergence (Ranganath, Tran & Blei, Hierarchical Variational Models, 2016).

    Raises ValueError in `compile` for a flow with `dequantize`, a base whose draws carry no gradients to some of its
    weights (`Mixture`), an inverse without gradients, and a bound with `stick_the_landing`; in `fit` for `alpha` with a
    context, and for a `log_density` of another shape, or one that is NaN or infinite for most draws of the flow.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Shift
    >>> flow = Flow(Shift())
    >>> flow.build((None, 1))
    >>> flow.compile(keras.optimizers.Adam(0.1), loss=ReverseKL(lambda x: -0.5 * ops.sum((x - 3.0) ** 2, axis=-1)))
    >>> history = flow.fit(steps_per_epoch=200, batch_size=64, verbose=0)
    >>> bool(abs(flow.sample(1000, seed=0).mean() - 3) < 0.2)
    True
    """

    needs_data = False

    def __init__(
        self,
        log_density: Callable[..., Any],
        stick_the_landing: bool = True,
        *,
        alpha: Number = 1.0,
        anneal: Fraction = 0.0,
    ) -> None:
        self.log_density, self.stick_the_landing = log_density, bool(stick_the_landing)
        self.alpha, self.anneal = alpha, anneal

    def check(self, flow: Any) -> None:
        """Raise ValueError for a flow whose draws do not carry all gradients."""
        spec = flow.bijector.spec
        if flow.dequantize is not None or "whole" in spec.domain.kind:
            raise ValueError(
                "ReverseKL: got a flow with dequantize, expected one of continuous data, since whole values carry no "
                "gradients. Leave dequantize out."
            )
        if not getattr(flow.base, "reparameterized", True):
            raise ValueError(
                f"ReverseKL: got a {type(flow.base).__name__} as base, expected one whose draws carry gradients to all "
                "its weights. Use Normal(learn=True), for example."
            )
        if spec.inverse == "none" or (spec.inverse == "iterative" and not spec.solver_gradients):
            received = (
                "no inverse" if spec.inverse == "none" else "an inverse that is solved without gradients"
            )
            raise ValueError(
                f"ReverseKL: got a bijector with {received}, expected one with gradients. Turn it around: "
                "Inverse(bijector) draws in the direction that the bijector computes forward."
            )
        if spec.likelihood == "bound" and self.stick_the_landing:
            raise ValueError(
                "ReverseKL: got stick_the_landing=True for a flow whose log_prob is a bound, expected one that is "
                "exact or right on average. Use ReverseKL(log_density, stick_the_landing=False), which minimises an "
                "upper bound of the divergence."
            )

    def check_draws(self, flow: Any, context: Context) -> None:
        """Raise ValueError unless `log_density` has the right shape and is finite for most draws of the flow."""
        if self.alpha != 1 and context is not None:
            raise ValueError(
                f"ReverseKL: got alpha={self.alpha:g} with a context, expected 1, since other orders compare draws of "
                "one density. Leave alpha out."
            )
        rows = 256 if context is None else len(keras.tree.flatten(context)[0])
        log_p = self._draw(flow, rows, context, flow.embed(context), seed=0)[2]
        finite = int(ops.convert_to_numpy(ops.isfinite(log_p)).sum())
        if 2 * finite < rows:
            raise ValueError(
                f"ReverseKL's log_density: got NaN or infinite numbers for {rows - finite} of {rows} draws of the flow "
                "before training, expected finite ones for most. If the density is 0 outside of some region, give "
                "the flow that region (domains= of the zoo); otherwise check log_density on flow.sample(5)."
            )

    def __call__(self, flow: Any, x: Tensor, context: Context) -> Tensor:
        seen = flow.embed(context)
        draws, log_q, log_p = self._draw(flow, ops.shape(x)[0], context, seen)
        if self.anneal:
            log_p = log_p * ops.clip(x[:, 0] / self.anneal, LEAST, 1.0)
        if self.stick_the_landing:
            # The two scores add up to 0; their gradient is that of the weights at fixed x.
            fixed = ops.stop_gradient(draws)
            score = flow._log_density(fixed, seen, flow._noise_for(fixed))
            log_q = log_q - (score - ops.stop_gradient(score))
        losses = log_q - log_p
        return losses if self.alpha == 1 else self._renyi(losses)

    def _draw(self, flow, rows, context, seen, seed=None):
        """Return draws, their log q and their log p; `seen` is the embedded context."""
        draws, log_q = flow._draw_and_score(rows, seen, seed)
        log_p = self.log_density(draws) if context is None else self.log_density(draws, context)
        expect_shape("log_density", log_p, log_q.shape)
        return draws, log_q, log_p

    def _renyi(self, losses):
        """Return Rényi's bound for all rows, with the gradients of the losses by their weights w^(1 - alpha)."""
        order, fixed = 1 - self.alpha, ops.stop_gradient(losses)
        rows = ops.cast(ops.shape(losses)[0], losses.dtype)
        bound = (ops.log(rows) - ops.logsumexp(-order * fixed)) / order
        share = ops.softmax(-order * fixed)
        if self.stick_the_landing:
            # The gradient that was left out has mean 0 only if the shares did not depend on x.
            share = self.alpha * share + order * ops.square(share)
        return bound + rows * share * (losses - fixed)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments. Raise TypeError for a layer, whose weights a file would not hold."""
        if isinstance(self.log_density, keras.Layer):
            raise TypeError(
                "log_density: got a layer, whose weights would be lost, expected a registered function."
            )
        return {
            "log_density": keras.saving.serialize_keras_object(self.log_density),
            "stick_the_landing": self.stick_the_landing,
            "alpha": self.alpha,
            "anneal": self.anneal,
        }
