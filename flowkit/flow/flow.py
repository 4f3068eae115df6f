"""The model: a bijector and the base density of its latents."""

import contextlib
import math
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import AnySeed, Context, FlowLayer, Shape, Tensor
from flowkit.contract.arguments import Count, checked, whole
from flowkit.contract.call import Call, Weight
from flowkit.contract.configured import one_line
from flowkit.contract.inside import build_for, kept_frozen, refuse_late
from flowkit.contract.noise import drawn, given
from flowkit.contract.precision import floats_as, full_precision, warn_of_other_precision
from flowkit.contract.shapes import as_tuple, event_size, per_sample
from flowkit.data.dequantize import Dequantize
from flowkit.distributed.failed import failing_together
from flowkit.distributed.group import note_model
from flowkit.distributions import Normal
from flowkit.engines import engine
from flowkit.flow import inputs, packing, parts, sampling
from flowkit.flow.averages import Averages
from flowkit.flow.model import FlowModel, locked
from flowkit.flow.round_trip import Check, look_at, may_lose_digits, relative_error, warn_of_overflow
from flowkit.flow.rows import (
    default_batch_size,
    in_bits,
    likelihoods,
    log_prob_of_rows,
    run_rows,
    varies,
)
from flowkit.flow.scoring import MeanOfCounted, is_likelihood, mean, score_name, what_counts
from flowkit.objectives.objective import expect_shape

SampleSize = Annotated[int, whole(0, None)]


@keras.saving.register_keras_serializable("flowkit")
class Flow(FlowModel):
    """log p(x) = log p_base(f(x)) + log|det df/dx|, for a bijector f from data to latents.

    A `keras.Model`: `compile`, `fit`, `evaluate`, callbacks, `save` are Keras's; the loss is the mean of -log_prob, or
    another objective. Called on data (or `{"x": ..., "context": ...}`) it returns log_prob as a tensor with gradients;
    its methods, but for `draw`, return numpy arrays.

    - `base`: the density of the latents; None is the standard normal.
    - `embedding`: a Keras layer or model that reads the context, once for each call; what it answers is the context
      of the bijector and the base. A context of several tensors, a dict, goes to one whose `call` takes the dict.
    - `dequantize`: a `flowkit.data.Dequantize`, or a surjection with its methods, if the data are whole values such as
      uint8 images; log_prob is then a lower bound of the log-probability of the image as stored.

    Data may be a pandas or polars DataFrame. The flow and its file keep its column names in `columns`: columns in
    another order are sorted, other columns refused, and samples are such a frame; `columns = None` turns it back to
    arrays. A context may be a frame as well, whose columns are `context_columns`.

    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> round(float(flow.log_prob(keras.ops.zeros((1, 2)))[0]), 4)  # -ln(2 pi)
    -1.8379
    """

    __repr__ = one_line

    def __init__(
        self,
        bijector: FlowLayer,
        base: keras.Layer | None = None,
        *,
        embedding: keras.Layer | None = None,
        dequantize: keras.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        parts.check_parts(bijector, base, embedding, dequantize)
        super().__init__(dtype=full_precision(dtype), **kwargs)
        note_model()
        if dtype is not None:
            warn_of_other_precision(self, bijector)
        self.bijector = bijector
        self.base = Normal(dtype=self.compute_dtype) if base is None else base
        self.embedding = embedding
        self.dequantize = dequantize
        self.sampler = keras.random.SeedGenerator()
        # Of training: samples that a callback draws must not change it.
        own = dequantize is None or isinstance(dequantize, Dequantize)
        draws = bijector.spec.draws(inverse=False)
        self.noise = None if own and not draws else keras.random.SeedGenerator()
        self.nll = MeanOfCounted(name="nll")
        self.bits = MeanOfCounted(name="bits_per_dim")
        self._in_objective = False  # True while the objective computes its losses
        self._in_training = False  # True if the step that compute_loss saw last trains

    # What Keras calls

    def build(self, input_shape: Shape) -> None:
        """Make the weights for data of shape (None, *event), or {"x": shape, "context": shape}."""
        x_shape, c_shape = (packing.plain_shape(shape) for shape in packing.unpack(input_shape))
        self.bijector._check_shape(x_shape)
        with kept_frozen(self):
            if self.dequantize is not None:
                self.dequantize.build_for(x_shape)
            if self.embedding is not None:
                c_shape = parts.build_embedding(self, c_shape)
            self.bijector.build_for(x_shape, c_shape)
            if self.noise is None and self.bijector.spec.draws(inverse=False):
                self.noise = keras.random.SeedGenerator()
            self.event_shape = x_shape[1:]
            self.rows_of_a_batch = default_batch_size(event_size(x_shape) or 1)
            self._refreshes = self.bijector.refreshes
            self.draws = {inverse: self.bijector.spec.draws(inverse=inverse) for inverse in (False, True)}
            latent = as_tuple(self.bijector.compute_output_shape(x_shape))
            self.latent_shape = latent[1:]
            self.rows_of_a_block = default_batch_size(event_size(latent) or 1)
            self.may_lose_digits = may_lose_digits(self.bijector)
            # Keras traces the model anew before each batch while a layer is not built.
            build_for(self.base, latent, c_shape)
        refuse_late(self.base)
        self.built = True
        self.averages = Averages(self)

    def __call__(self, inputs: Tensor, *args: Any, context: Context = None, **kwargs: Any) -> Tensor:
        """Return log_prob of `x`, with a `context` or none, or of `{"x": ..., "context": ...}`, with gradients."""
        self._put_back()
        inputs = inputs if context is None else {"x": inputs, "context": context}
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return log_prob in nats, (batch,): noise is drawn anew at each call.

        In training on another objective than likelihood return that objective's losses, {"loss": (batch,)}.
        """
        training = training and not self._in_objective  # which may call the flow for log_prob
        x, context = packing.unpack(inputs)
        if training and not is_likelihood(self.objective):
            return self._objective_losses(x, context)
        self.bijector.check_input(x, context)
        context = self.embed(context)
        y, volume = self._continuous(x)
        noise = self._noise_for(y)
        if training and self._refreshes:
            self.bijector.run_refresh(ops.stop_gradient(y), context, **given(noise))
        z, log_prob = self._score(y, context, noise)
        return self._scores(z, log_prob if volume is None else log_prob + volume, context)

    def _scores(self, z, log_prob, context):
        """Return the result of a call for data with latents `z`."""
        return log_prob

    def _objective_losses(self, x, context):
        """Return what `call` returns in training on another objective: {"loss": (batch,)}."""
        if self.objective.needs_data:
            x, _ = self._continuous(x)
        if self._refreshes:
            seen = self.embed(context)
            y = x if self.objective.needs_data else self._draw_and_score(ops.shape(x)[0], seen)[0]
            self.bijector.run_refresh(ops.stop_gradient(y), seen, **given(self._noise_for(y)))
        self._in_objective = True
        try:
            losses = self.objective(self, x, context)
        finally:
            self._in_objective = False
        expect_shape(type(self.objective).__name__, losses, (x.shape[0],))
        return {"loss": losses}

    def compute_loss(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        y_pred: Tensor = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Return the mean of the losses (weighted if weights are given), plus the layers' own.

        In training they are the objective's; in evaluation -log_prob in nats.
        """
        self._in_training = training
        if training and self.averages.variables:
            self.averages.update()
        of_layers = self.losses  # collected anew each time
        self.has_other_losses = bool(of_layers)
        losses = self._loss_per_row(x, y_pred)
        if sample_weight is not None:
            expect_shape("sample_weight, one number for each row", sample_weight, losses.shape)
            losses = losses * ops.cast(sample_weight, losses.dtype)
        return engine.replica_share(sum(of_layers, mean(losses)))

    def _loss_per_row(self, x, y_pred):
        """Return one loss per sample, (batch,), of what `call` has returned."""
        return y_pred["loss"] if isinstance(y_pred, dict) else -y_pred

    def compute_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> dict[str, Any]:
        """Return the loss; of scored images also nll and bits_per_dim, of rows nll if it differs from the loss."""
        if isinstance(y_pred, dict):
            return {"loss": self.get_metrics_result()["loss"]}
        counts, weight = what_counts(self, y_pred, sample_weight)
        nats = ops.where(counts, -y_pred, ops.zeros_like(y_pred))
        self.nll.update_state(nats, weight)
        shape = packing.unpack(x)[0].shape
        has_bits = len(shape) > 2 or self.dequantize is not None
        if has_bits:
            self.bits.update_state(nats / (event_size(shape) * math.log(2)), weight)
        results = dict(self.get_metrics_result())
        if not has_bits:
            del results["bits_per_dim"]
        if score_name(self) == "loss" and sample_weight is None:
            results["loss"] = results.pop("nll")  # without skipped steps
        return results

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return (batch,), the shape of log_prob."""
        return (packing.unpack(input_shape)[0][0],)

    def compute_output_spec(self, *given: Any, **more: Any) -> Any:
        """Check that the flow is adapted, before another model that holds it is traced; return Keras's own."""
        self.bijector._see_adapted()
        return super().compute_output_spec(*given, **more)

    # The mathematics, of tensors

    def _continuous(self, x):
        """Return (continuous values of `x`, the dequantizer's part of log_prob or None if it is constant)."""
        layer = self.dequantize
        if layer is None:
            return x, None
        seeds = layer.noise if isinstance(layer, Dequantize) else self.noise
        noise = drawn(layer.noise_needs(x.shape, inverse=False), ops.shape(x)[0], layer.compute_dtype, seeds)
        y, log_det = layer.run(ops.cast(x, layer.compute_dtype), Call(), noise)
        return ops.cast(y, self.compute_dtype), per_sample(layer, log_det, y) if varies(layer) else None

    def _noise_for(self, y):
        """Return the numbers that the bijector needs to score continuous values; None for none."""
        if not self.draws[False]:
            return None
        needs = self.bijector.noise_needs(as_tuple(y.shape), inverse=False)
        return drawn(needs, ops.shape(y)[0], self.compute_dtype, self.noise)

    def _to_latents(self, y, context, noise=None, *, derived=None, **options):
        """Return the latents of continuous values `y`; `options` are those of a `Call`."""
        return self.bijector.run(y, Call(context, log_det=False, **options), noise, derived)[0]

    def _to_data(self, z, context, noise=None, *, derived=None, **options):
        """Return the continuous values of latents `z`."""
        call = Call(context, inverse=True, log_det=False, **options)
        return self.bijector.run(z, call, noise, derived)[0]

    def _to_clean_data(self, y, context, noise=None, **options):
        """Return the mean of the data given their noisy values `y`: one step up the gradient of log p."""

        def density(tensors):
            return ops.sum(self._log_density(tensors[0], context, noise, **options))

        _, (score,) = engine.gradients(density, [y])
        return y + self.dequantize.std**2 * score

    def _score(self, y, context, noise=None, *, derived=None, **options):
        """Return (latents, log p) of continuous values `y`, with the dequantizer's log-volume if it is constant."""
        z, log_det = self.bijector.run(y, Call(context, **options), noise, derived)
        log_prob = self.base.log_prob(z, context=context) + per_sample(self.bijector, log_det, y)
        if self.dequantize is not None and not varies(self.dequantize):
            log_prob = log_prob + self.dequantize.log_volume(event_size(y.shape))
        return z, log_prob

    def _log_density(self, y, context, noise=None, **options):
        return self._score(y, context, noise, **options)[1]

    def _to_data_and_score(self, z, context, noise=None):
        """Return (continuous values, log p) of latents `z`."""
        x, log_det = self.bijector.run(z, Call(context, inverse=True), noise)
        return x, self.base.log_prob(z, context=context) - per_sample(self.bijector, log_det, z)

    def _draw_and_score(self, rows, seen, seed=None):
        """Return (x, log q(x)) for as many draws, with what the parts receive of the context."""
        seed = self.sampler if seed is None else engine.seeds(seed)
        z = self.base.sample((rows, *self.latent_shape), seed=seed, context=seen)
        needs = self.bijector.noise_needs((None, *self._event()), inverse=True)
        noise = drawn(needs, rows, self.compute_dtype, seed)
        return self._to_data_and_score(z, seen, noise)

    def embed(self, context: Context) -> Tensor:
        """Return what the bijector and the base receive for a context: the embedding's output, or the context itself.

        Tensors with gradients, for an objective of your own, which receives the context as it was passed.
        """
        if self.embedding is None or context is None:
            return context
        return floats_as(self.embedding(context), self.compute_dtype)

    def draw(self, n: int, context: Context = None, seed: AnySeed = None) -> tuple[Tensor, Tensor]:
        """Return `n` draws (x, log q(x)), x = f^-1(z) for z from the base: tensors with gradients, also in training.

        x is (n, *event), log q(x) (n,); for a context of b rows (n, b, *event) and (n, b). `seed` is a whole number, a
        `keras.random.SeedGenerator`, on JAX also a key; None draws from the flow's own generator. Raises ValueError
        with `dequantize`, and ContractError for a flow that is not built: `flow.build((None, d))`.

        >>> from flowkit.bijectors import Scale
        >>> flow = Flow(Scale(0.0))
        >>> flow.build((None, 2))
        >>> x, log_q = flow.draw(5, seed=0)
        >>> tuple(x.shape), tuple(log_q.shape)
        ((5, 2), (5,))
        """
        self._put_back()
        return sampling.draw(self, n, context, seed)

    # Answers as numpy

    @property
    def num_classes(self) -> int | None:
        """Return the number of classes of a class-conditional flow; None for no labels."""
        if self.embedding is not None:
            return parts.classes_of(self.embedding)
        known = [getattr(part, "num_classes", None) for part in (self.bijector, self.base)]
        return min((classes for classes in known if classes is not None), default=None)

    @property
    def exact(self) -> str:
        """Return what `log_prob` is: "exact", an "estimate" or a "bound".

        One draw of the noise gives an estimate that is right on average, or a lower bound on average, as for
        dequantised data. A bound that is also estimated counts as a bound.
        """
        words = likelihoods(self)
        if any("bound" in word for word in words):
            return "bound"
        return "exact" if words == {"exact"} else "estimate"

    @locked
    @checked
    def log_prob(
        self,
        x: Tensor,
        context: Context = None,
        *,
        samples: Count = 1,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Return log p(x) in nats, numpy (batch,): exact, or what `exact` says, with one draw of the noise.

        `samples` = k > 1 draws of the noise give the tighter bound, or the mean of estimates: see `bits_per_dim`.
        The noise of a sample follows from `seed` and its index alone, so neither the batch size nor the
        engine changes the result.
        """
        x, context = inputs.checked_and_embedded(self, x, context, batch_size)
        log_prob = log_prob_of_rows(self, x, context, batch_size, seed, samples)
        return log_prob.astype(self.compute_dtype)

    @locked
    @checked
    def bits_per_dim(
        self,
        x: Tensor,
        context: Context = None,
        *,
        samples: Count = 1,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Return -log_prob / (D ln 2) for each sample, numpy (batch,): bits for each dimension as stored.

        `samples` = k > 1 draws of the noise give the tighter bound log (1/k) sum_i p(x + u_i) if log_prob is a bound
        (Burda, Grosse & Salakhutdinov, 2016), and the mean of log_prob if some part of it is an estimate: of
        exponentials of estimates no mean is a bound.
        """
        x, context = inputs.checked_and_embedded(self, x, context, batch_size)
        log_prob = log_prob_of_rows(self, x, context, batch_size, seed, samples)
        return in_bits(log_prob, x.shape)

    @locked
    @checked
    def sample(
        self,
        n: SampleSize,
        context: Context = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int | None = None,
        check: Check = "warn",
        spread: bool = False,
        steps: Count | None = None,
        guidance: Weight = 0.0,
    ) -> Tensor:
        """Return `n` draws, numpy (n, *event); for a context of b rows (n, b, *event). uint8 with `dequantize`.

        A flow that was fitted on a frame draws a frame of the same columns, if there is no context.
        `temperature` multiplies the standard deviation of the latents; of a multi-scale flow it may be one
        number for each level. The same seed on the same engine gives the same samples, whatever the batch size.
        `check`: as for `encode`. `steps`: for `Continuous` layers, so many steps in place of their own.

        `guidance` = w draws from other layers than `log_prob` scores with: a network's output h becomes
        h + w (h - h without a context), in layers with an optional context, such as those of `zoo.tarflow`.
        A flow with `dequantize=GaussianNoise(std)` takes the noise off its draws: y + std^2 grad log p(y).

        `spread=True` shares the work in a group of processes (`flowkit.distributed`). All of them call it with the same
        arguments; each decodes its part of the rows, and all receive all rows: those of one process, but for rounding.
        The seed is the main process's; `check` is done in each. An error in one process is a
        `flowkit.distributed.ProcessFailed` in the others.

        Raises ValueError for a guidance below 0, or without a context that is optional.
        """
        weight = parts.guidance_of(self, guidance, context) if guidance else None
        options = {"steps": steps, "guidance": weight}
        with failing_together() if spread else contextlib.nullcontext():
            return sampling.sample(
                self, n, context, temperature, seed, batch_size, check, options, spread=spread
            )

    @locked
    @checked
    def sample_and_log_prob(
        self,
        n: SampleSize,
        context: Context = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int | None = None,
        check: Check = "warn",
    ) -> tuple[Any, np.ndarray]:
        """Return (samples, log_prob(samples)), the second (n,) or (n, b): the model's own, whatever the temperature."""
        return sampling.sample(self, n, context, temperature, seed, batch_size, check, {}, score=True)

    @locked
    @checked
    def encode(
        self,
        x: Tensor,
        context: Context = None,
        *,
        batch_size: int | None = None,
        check: Check = "warn",
        seed: int = 0,
    ) -> np.ndarray:
        """Return the latents of `x`, numpy; whole values are taken at the middle of their bins, without noise.

        Other noise that the flow needs follows from `seed` and a row's index, as in `log_prob`.

        `check` says what happens to data that do not come back, those whose `round_trip_error` is above 1e-3:

        - "warn" looks at the few rows farthest out, and warns. It looks at calls 1, 16, 256, ... since
          the weights were loaded or trained, and never at flows whose layers bound the error;
        - "raise" looks at all, in each call, which takes two to three times as long, and raises ContractError;
        - None does not look.
        """
        x, context = inputs.checked_and_embedded(self, x, context, batch_size)
        z = run_rows(self, self._to_latents, x, context, stored="middle", seed=seed, batch_size=batch_size)
        if check == "raise" or self.may_lose_digits:
            look_at(self, x, context, check, batch_size)
        return z

    @locked
    @checked
    def decode(
        self,
        z: Tensor,
        context: Context = None,
        *,
        batch_size: int | None = None,
        check: Check = "warn",
        seed: int = 0,
    ) -> Tensor:
        """Return the data of latents `z`, numpy: uint8 with `dequantize`. `decode(encode(x))` is x.

        A flow that was fitted on a frame gives a frame. `check`: see `encode`.
        What the way back draws anew, after a surjection, follows from `seed` and a row's index.
        """
        z = inputs.real_numbers(z, "latents").astype(self.compute_dtype, copy=False)
        context = inputs.embedded_context(self, context, batch_size, rows=len(z))
        self.bijector.check_input(z, context, inverse=True)
        y = run_rows(self, self._to_data, z, context, inverse=True, seed=seed, batch_size=batch_size)
        x, finite = sampling.stored_and_finite(self, y)
        if not finite.all():
            warn_of_overflow(finite)
        if check == "raise" or self.may_lose_digits:
            look_at(self, x, context, check, batch_size)
        return x if self.columns is None else sampling.as_frame(self.columns, x)

    @locked
    def round_trip_error(
        self, x: Tensor, context: Context = None, *, batch_size: int | None = None
    ) -> np.ndarray:
        """Return how far f^-1(f(x)) is from x, as a part of the size of x, numpy (n,): rounding, if all is right.

        The largest difference of a row's entries, over its largest entry, or that of the median row if this is more.
        What takes uint8 starts at the middle of the bins.
        """
        x, context = inputs.checked_and_embedded(self, x, context, batch_size)
        return relative_error(self, x, context, batch_size)
