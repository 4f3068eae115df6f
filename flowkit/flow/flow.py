"""The model: a bijector and the base density of its latents."""

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from flowkit.contract import FlowLayer
from flowkit.contract.inside import build_for
from flowkit.contract.noise import given
from flowkit.contract.one_line import one_line
from flowkit.contract.precision import full_precision, warn_of_other_precision
from flowkit.contract.saving import built_late, refuse_late
from flowkit.contract.shapes import as_tuple, event_size
from flowkit.data.dequantize import Dequantize
from flowkit.data.frame import Columns
from flowkit.distributed.failed import failing_together
from flowkit.distributed.group import note_model
from flowkit.distributions import Normal
from flowkit.engines import engine
from flowkit.flow import context as contexts
from flowkit.flow import prepare, sampling, saving, scoring
from flowkit.flow.noise import varies
from flowkit.flow.round_trip import look_at, one_check, relative_error
from flowkit.flow.training import Trained, locked


@keras.saving.register_keras_serializable("flowkit")
class Flow(Trained):
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
        base: Any = None,
        *,
        embedding: Any = None,
        dequantize: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        prepare.check_parts(bijector, base, embedding, dequantize)
        super().__init__(dtype=full_precision(dtype), **kwargs)
        note_model()
        if dtype is not None:
            warn_of_other_precision(self, bijector)
        self.bijector = bijector
        self.base = Normal(dtype=self.compute_dtype) if base is None else base
        self.embedding = embedding
        self.dequantize = dequantize
        self.columns: Columns | None = None
        self.context_columns: Columns | None = None
        self.event_shape: tuple[int, ...] | None = None
        self.sampler = keras.random.SeedGenerator()
        # Of training: samples that a callback draws must not change it.
        self._draws = bijector.spec.draws(inverse=False)
        own = dequantize is None or isinstance(dequantize, Dequantize)
        self.noise = None if own and not self._draws else keras.random.SeedGenerator()
        self._late: frozenset[str] = frozenset()  # layers of the base that its `build` leaves unbuilt

    # What Keras calls

    def build(self, input_shape: Any) -> None:
        """Make the weights for data of shape (None, *event), or {"x": shape, "context": shape}."""
        x_shape, c_shape = (prepare.plain_shape(shape) for shape in prepare.unpack(input_shape))
        self.bijector._check_shape(x_shape)
        if self.dequantize is not None:
            self.dequantize.build_for(x_shape)
        if self.embedding is not None:
            c_shape = contexts.build_embedding(self, c_shape)
        self.bijector.build_for(x_shape, c_shape)
        self.event_shape = x_shape[1:]
        # Keras traces the model anew before each batch while a layer is not built.
        build_for(self.base, as_tuple(self.bijector.compute_output_shape(x_shape)), c_shape)
        self._late = built_late(self.base)
        self.built = True

    def __call__(self, inputs: Any, *args: Any, context: Any = None, **kwargs: Any) -> Any:
        """Return log_prob of `x`, with a `context` or none, or of `{"x": ..., "context": ...}`, with gradients."""
        self._put_back()
        return super().__call__(prepare.pack(inputs, context), *args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return log_prob in nats, (batch,): noise is drawn anew at each call.

        In training on another objective than likelihood return that objective's losses, {"loss": (batch,)}.
        """
        training = training and not self._asked
        if training and not self._trains_on_likelihood:
            return self._objective_losses(inputs)
        x, context = prepare.unpack(inputs)
        context = self.embed(context)
        y, volume = self._continuous(x)
        noise = self._noise_for(y)
        self._refresh(y, context, noise, training)
        with engine.compiling_parts(when=self.jit_compile):
            return self._answered(y, context, noise, volume)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return (batch,), the shape of log_prob."""
        return (prepare.unpack(input_shape)[0][0],)

    def compute_output_spec(self, *given: Any, **more: Any) -> Any:
        """Keras's. The last moment, before another model that holds the flow is traced, to see if it is adapted."""
        self.bijector._see_adapted()
        return super().compute_output_spec(*given, **more)

    # The mathematics, of tensors

    def _through(self, x, context, noise, inverse=False):
        """Run a direction of the bijector, without Keras's entry if that does nothing for it but take time."""
        built = self.bijector.built  # which Keras's entry sees to
        entry = self.bijector.call if built and not self._needs_entry else self.bijector
        return entry(x, context=context, inverse=inverse, **given(noise))

    @functools.cached_property
    def _needs_entry(self):
        """Whether Keras's entry to the bijector casts weights, or adds to the loss. A flow that is used is built."""
        bijector = self.bijector
        return bijector.activity_regularizer is not None or any(
            "float" in weight.dtype and weight.dtype != bijector.compute_dtype
            for weight in bijector.variables
        )

    def _forward(self, y, context, noise=None):
        return self._through(y, context, noise)[0]

    def _backward(self, z, context, noise=None):
        return self._through(z, context, noise, inverse=True)[0]

    def _encode_and_score(self, y, context, noise=None):
        z, log_det = self._through(y, context, noise)
        log_prob = self.base.log_prob(z, context=context) + log_det
        if self.dequantize is not None and not varies(self.dequantize):
            log_prob = log_prob + self.dequantize.log_volume(event_size(y.shape))
        return z, log_prob

    def _log_density(self, y, context, noise=None):
        return self._encode_and_score(y, context, noise)[1]

    def _invert_and_score(self, z, context, noise=None):
        x, log_det = self._through(z, context, noise, inverse=True)
        return x, self.base.log_prob(z, context=context) - log_det

    def _answered(self, y, context, noise, volume):
        """Return the result of a call; `volume` is the dequantizer's part, if it varies."""
        log_prob = self._log_density(y, context, noise)
        return log_prob if volume is None else log_prob + volume

    def embed(self, context: Any) -> Any:
        """Return what the bijector and the base receive for a context: the embedding's output, or the context itself.

        Tensors with gradients, for an objective of your own, which receives the context as it was passed.
        """
        return contexts.embed(self, context)

    def draw(self, n: int, context: Any = None, seed: Any = None) -> tuple[Any, Any]:
        """Return `n` draws (x, log q(x)), x = f^-1(z) for z from the base: tensors with gradients, also in training.

        x is (n, *event), log q(x) (n,); for a context of b rows (n, b, *event) and (n, b). Raises ValueError with
        `dequantize`, and ContractError for a flow that is not built: `flow.build((None, d))`.

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
        """How many classes the labels of a class-conditional flow may name; None for no labels."""
        if self.embedding is not None:
            return contexts.classes_of(self.embedding)
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

    @locked
    def log_prob(
        self,
        x: Any,
        context: Any = None,
        *,
        samples: int = 1,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Return log p(x) in nats, numpy (batch,): exact, or what `exact` says, with one draw of the noise.

        `samples` = k > 1 draws of the noise give the tighter bound, or the mean of estimates: see `bits_per_dim`.
        The noise of a sample follows from `seed` and its index alone, so neither the batch size nor the
        engine changes the result. Raises ValueError for k > 1 if log_prob is exact.
        """
        scoring.check_draws(self, samples)
        x, context = self._prepare(x, context, batch_size)
        if samples == 1:
            return scoring.densities(self, x, context, batch_size, seed)
        log_prob = scoring.log_prob_of_draws(self, x, context, batch_size, seed, samples)
        return log_prob.astype(self.compute_dtype)

    @locked
    def bits_per_dim(
        self, x: Any, context: Any = None, *, samples: int = 1, batch_size: int | None = None, seed: int = 0
    ) -> np.ndarray:
        """Return -log_prob / (D ln 2) for each sample, numpy (batch,): bits for each dimension as stored.

        `samples` = k > 1 draws of the noise give the tighter bound log (1/k) sum_i p(x + u_i) if log_prob is a bound
        (Burda, Grosse & Salakhutdinov, 2016), and the mean of log_prob if some part of it is an estimate: of
        exponentials of estimates no mean is a bound. Raises ValueError for k > 1 if log_prob is exact.
        """
        scoring.check_draws(self, samples)
        x, context = self._prepare(x, context, batch_size)
        log_prob = scoring.log_prob_of_draws(self, x, context, batch_size, seed, samples)
        return scoring.in_bits(log_prob, x.shape)

    @locked
    def sample(
        self,
        n: int,
        context: Any = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int | None = None,
        check: str | bool = "warn",
        spread: bool = False,
    ) -> Any:
        """Return `n` draws, numpy (n, *event); for a context of b rows (n, b, *event). uint8 with `dequantize`.

        A flow that was fitted on a frame draws a frame of the same columns, if there is no context.
        `temperature` multiplies the standard deviation of the latents; of a multi-scale flow it may be one
        number for each level. The same seed on the same engine gives the same samples, whatever the batch size.
        `check`: as for `encode`.

        `spread=True` shares the work in a group of processes (`flowkit.distributed`). All of them call it with the same
        arguments; each decodes its part of the rows, and all receive all rows: those of one process, but for rounding.
        Without a seed all draw from the main process's; `check` is done in each. Raises ValueError, in all, if their
        arguments differ; any other error in one is a `flowkit.distributed.ProcessFailed` in the others.
        """
        with failing_together() if spread else contextlib.nullcontext():
            one_check(check)
            return sampling.sample(self, n, context, temperature, seed, batch_size, check, spread)

    @locked
    def sample_and_log_prob(
        self,
        n: int,
        context: Any = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int | None = None,
        check: str | bool = "warn",
    ) -> tuple[Any, np.ndarray]:
        """Return (samples, log_prob(samples)), the second (n,) or (n, b): the model's own, whatever the temperature."""
        one_check(check)
        return sampling.sample_and_score(self, n, context, temperature, seed, batch_size, check)

    @locked
    def encode(
        self,
        x: Any,
        context: Any = None,
        *,
        batch_size: int | None = None,
        check: str | bool = "warn",
        seed: int = 0,
    ) -> np.ndarray:
        """Return the latents of `x`, numpy; whole values are taken at the middle of their bins, without noise.

        Other noise that the flow needs follows from `seed` and a row's index, as in `log_prob`.

        `check` says what happens to data that do not come back, those whose `round_trip_error` is above 1e-3:

        - "warn" looks at a few rows, those farthest out among them, and warns. It looks at calls 1, 2, 4, 8, ... since
          the weights were loaded or trained, and never at flows whose layers bound the error;
        - "raise" looks at all, in each call, which takes two to three times as long, and raises ContractError;
        - None does not look.
        """
        one_check(check)
        x, context = self._prepare(x, context, batch_size)
        z = sampling.encoded(self, x, context, batch_size, seed)
        look_at(self, x, context, check, batch_size, z=z)
        return z

    @locked
    def decode(
        self,
        z: Any,
        context: Any = None,
        *,
        batch_size: int | None = None,
        check: str | bool = "warn",
        seed: int = 0,
    ) -> Any:
        """Return the data of latents `z`, numpy: uint8 with `dequantize`. `decode(encode(x))` is x.

        A flow that was fitted on a frame gives a frame. `check`: see `encode`.
        What the way back draws anew, after a surjection, follows from `seed` and a row's index.
        """
        if isinstance(z, list | tuple) and any(getattr(part, "ndim", 0) > 1 for part in z):
            raise ValueError(
                "decode expects flat latents (n, dim), received a list of maps. Of split_latents "
                "flow.bijector.join_latents(maps) makes them."
            )
        z = prepare.real_numbers(z, "latents").astype(self.compute_dtype, copy=False)
        context = self._ready(context, batch_size, rows=len(z))
        x = sampling.decoded(self, z, context, batch_size, one_check(check), seed)
        return sampling.as_frame(self, x)

    @locked
    def round_trip_error(self, x: Any, context: Any = None, *, batch_size: int | None = None) -> np.ndarray:
        """Return how far f^-1(f(x)) is from x, as a part of the size of x, numpy (n,): rounding, if all is right.

        The largest difference of a row's entries, over its largest entry, or that of the median row if this is more.
        What takes uint8 starts at the middle of the bins.
        """
        x, context = self._prepare(x, context, batch_size)
        return relative_error(self, x, context, batch_size)

    # Files

    @locked
    def save(
        self, filepath: str | Path, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Keras's `save`: the same bytes for the same flow, in place of an older file only once they are written."""
        saving.refuse_late_weights(self)
        write = functools.partial(super().save, **kwargs)
        saving.save(self, write, filepath, overwrite, zipped)

    @classmethod
    def from_preset(cls, preset: str | os.PathLike[str]) -> Self:
        """Return the flow of a preset: "glow/digits" and others that come with flowkit, a folder, or "hf://user/name".

        All its files but the README are compared with their SHA-256 first, and none runs code. hf:// needs
        huggingface_hub, and keeps what it has downloaded. Layers of your own must be registered before, as for
        `keras.saving.load_model`.

        Raises PresetError, a ValueError, if there is no such preset, if it is damaged, of a newer flowkit, brings code,
        or is another kind of flow than `cls`.

        >>> import flowkit
        >>> flow = flowkit.Flow.from_preset("glow/digits")
        >>> flow.sample(2, seed=0).shape
        (2, 8, 8, 1)
        """
        return saving.from_preset(cls, preset)

    @locked
    def save_to_preset(
        self,
        folder: str | os.PathLike[str],
        *,
        rows: Any = None,
        context: Any = None,
        about: Mapping[str, Any] | None = None,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write the flow as a preset into `folder`, a new one: config, weights, metadata and a README, at once.

        - `rows`, with their `context`: some data (a batch) that are kept beside their `log_prob`, in check.npz, so that
          a loaded flow can be compared.
        - `about`: what metadata.json and README.md also say: `license`, `description`, `data` ({"name", "sha256"}),
          `measured` (such as {"test_bits_per_dim": 3.6}).
        - `extra`: further files, name -> content: recipe.toml, and pictures such as samples.png.

        Optimizer and objective stay behind. Raises ValueError for a flow that is not built, and PresetError if there is
        something in `folder` already, `extra` has a file of another name, or a class of yours is not registered.

        >>> import flowkit, tempfile
        >>> folder = tempfile.mkdtemp() + "/mine"
        >>> flow = flowkit.zoo.nsf(features=2, layers=2, hidden=[8])
        >>> flow.save_to_preset(folder, about={"license": "cc0-1.0"})
        >>> flowkit.Flow.from_preset(folder).event_shape
        (2,)
        """
        saving.save_to_preset(self, folder, rows, context, about, extra)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **saving.config_of(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        return saving.from_config(cls, config, custom_objects)

    @locked
    def get_weights(self) -> Any:
        """Keras's, also in the middle of an epoch."""
        return super().get_weights()

    @locked
    def set_weights(self, weights: Any) -> None:
        """Keras's."""
        super().set_weights(weights)
        self._forget()

    @locked
    def save_own_variables(self, store: Any) -> None:
        saving.refuse_late_weights(self)
        super().save_own_variables(store)

    @locked
    def load_own_variables(self, store: Any) -> None:
        refuse_late(self.base, self._late)
        super().load_own_variables(store)
        self._forget()

    def _forget(self):
        """Forget what was seen of earlier weights."""
        self.bijector._adapted = None  # the new ones may be from before `adapt`
        self.calls = 0

    @locked
    def export(  # type: ignore[override]
        self,
        path: str | Path,
        what: str = "decode",
        format: str = "onnx",
        *,
        context: Any = None,
    ) -> float:
        """Write one of the flow's functions to `path`, for any batch size, with its weights as constants.

        - `what`: "decode", x = f^-1(z); "encode", z = f(x); "log_prob", log p(x) in nats; or "encode_and_log_prob".
        - `format`: "onnx", "openvino" (.xml, with its .bin), "torch" (.pt2), "saved_model" (a folder) or "litert"
          (.tflite). docs/export.md says which engine writes which, and what x is for a flow with `dequantize`.
        - `context`: of a conditional flow a few rows to compare on; the file takes the context as its second input.

        The file is run on 1, 3 and 64 draws of the flow before it is put at `path`. Returns the largest difference
        from the flow, as a part of the size of the answer. Raises ValueError for what cannot be written here,
        ImportError for packages that are missing, and ContractError for a flow that is not built or draws noise on
        that way, and if the file differs by more than 1e-5, or than the flow's own answer changes if its input is
        rounded once: nothing is written then.
        """
        from flowkit.flow.export import export  # for the few calls that need it: it takes a moment

        return export(self, path, what, format, context)

    def summary(
        self, line_length: int | None = None, *, print_fn: Any = None, expand_nested: bool = False
    ) -> None:
        """Print the flow's parts in their order: level, latents, weights, log-det, and what training keeps of them.

        One row stands for alike blocks, `8 x`, unless `expand_nested`. `print_fn` receives the text; `line_length` is
        in characters.

        >>> from flowkit.bijectors import Scale
        >>> flow = Flow(Scale(0.5))
        >>> flow.build((None, 2))
        >>> flow.summary(print_fn=lambda text: print(text.splitlines()[-1].strip()))
        log_prob is exact
        """
        from flowkit.flow.summary import show  # for the few calls that need it: it takes a moment

        show(self, line_length, print_fn, expand_nested)
