"""Base class of Bijector and Surjection: two directions, their checks, and how they are built, run and adapted."""

import contextlib
import difflib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import keras
from keras import ops

from flowkit.contract.adaptation import adapted_flags, is_adapted, waits_for_adapt
from flowkit.contract.arguments import instance, one_of, whole_number
from flowkit.contract.call import Call, declares_derived
from flowkit.contract.checks import check_noise, check_shape, needs_context, refuse_no_pair
from flowkit.contract.configured import Configured
from flowkit.contract.errors import ContractError, label
from flowkit.contract.inside import build_for, layers_inside
from flowkit.contract.noise import KINDS, Need, drawn, given
from flowkit.contract.precision import full_precision
from flowkit.contract.shapes import AnySeed, Context, Shape, Tensor, as_tuple, context_shape, per_sample
from flowkit.contract.spec import BijectorSpec

_HOOKS = {False: "_forward", True: "_inverse"}


class FlowLayer(Configured, keras.Layer):
    """Base class of `Bijector` and `Surjection`.

    Their authors may write these attributes and methods:

    - `noise_kind`: the distribution of its noise, "normal" (standard) or "uniform" (in [0, 1)).
    - `rows_to_adapt`: the number of rows that `adapt` needs, if the data have so many.
    - `_derive(x_shape, inverse)`, optional: a dict of tensors that depend on the weights alone. `_forward` and
      `_inverse` receive it as `derived=`. It works for weights with leading axes, so that a `Repeat` derives for all
      copies at once: write it with negative axes (`scale[..., None, :]`, `axis=-1`, `swapaxes(-1, -2)`).
    """

    noise_kind = "normal"
    rows_to_adapt = 0  # a batch will do
    runs_hooks = True  # False if its `run` calls neither `_forward` nor `_inverse`
    takes_steps = False  # True if it solves an equation in steps, which a call with `finer` doubles
    composite = False  # True if it runs other layers, its `parts`, one after another
    # How often a file or `set_weights` replaced weights of any layer, flags among them.
    weight_loads: ClassVar[int] = 0
    spec = BijectorSpec()
    # (forward, inverse): True for a direction that receives `derived=`. Read from the arguments of the hooks; a class
    # with a `_derive` whose `run` calls no hooks sets it.
    takes_derived = False, False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        _refuse_public_names(cls)
        _refuse_unused_hooks(cls)
        if cls.runs_hooks:
            cls.takes_derived = declares_derived(cls, "_forward"), declares_derived(cls, "_inverse")

    def __init__(self, *, dtype: str | keras.DTypePolicy | None = None, **kwargs: Any) -> None:
        super().__init__(dtype=full_precision(dtype), **kwargs)
        self._adapted: bool | None = None  # None: not known
        self._adapted_at_load = -1  # the value of `weight_loads` when `_adapted` was seen
        self._fixed: tuple[int | None, ...] | None = None
        self._fitting: tuple[Any, bool] | None = None  # the last event shape and direction that passed

    # What authors write. To a type checker any arguments will do, since a hook declares those that its spec names.

    if TYPE_CHECKING:

        def build(self, *args: Any, **kwargs: Any) -> None:
            """Declare any arguments: Keras's own has another name for its argument."""

    def _forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(_missing_hook(self, "_forward", "x"))

    def _inverse(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(_missing_hook(self, "_inverse", "z"))

    def _adapt(self, *args: Any, **kwargs: Any) -> None:
        """Set what depends on data; nothing by default."""

    def _refresh(self, *args: Any, **kwargs: Any) -> None:
        """Refresh what changes once in a training step, such as a running mean; nothing by default."""

    def noise_size(self, x_shape: Shape) -> int:
        """Return how many random numbers the hooks need for a sample of data of `x_shape`."""
        raise NotImplementedError(
            f"{type(self).__name__} has noise in its spec, and no noise_size(self, x_shape)."
        )

    @property
    def num_classes(self) -> int | None:
        """Return how many classes the labels of a class-conditional bijector may name; None for no labels."""
        return None

    # The shapes of a map that changes them

    def latent_rank(self, rank: int | None) -> int | None:
        """Return the rank of a latent event for data events of `rank`; None if it depends."""
        return rank

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the latent's shape for data of `input_shape`."""
        return input_shape

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        """Return the data's shape for latents of `latent_shape`."""
        return latent_shape

    # What users call

    def call(
        self, x: Tensor, context: Context = None, inverse: bool = False, noise: Tensor | None = None
    ) -> Tensor:
        """Return (output, log_det) of one direction. Raises ContractError for an input that does not fit."""
        self.check_input(x, context, inverse)
        check_noise(self, x, inverse, noise)
        if keras.backend.standardize_dtype(x.dtype) != self.compute_dtype:
            x = ops.cast(x, self.compute_dtype)
        y, log_det = self.run(x, Call(context, inverse), noise)
        return y, per_sample(self, log_det, x)

    def __call__(self, x: Tensor, *args: Any, inverse: bool = False, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if inverse and not self.built:  # Keras would take the latent's shape for the data's
            x = x if hasattr(x, "shape") else ops.convert_to_tensor(x)
            context = args[0] if args else kwargs.get("context")
            self.build_for(self.compute_inverse_shape(as_tuple(x.shape)), context_shape(context))
        return super().__call__(x, *args, inverse=inverse, **kwargs)

    def inverse(
        self, z: Tensor, context: Context = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (x, log_det) of latents `z`, log_det = log|det dx/dz|. Builds the layer if necessary."""
        return self(z, context=context, inverse=True, **given(noise))

    def draw_noise(self, x_shape: Shape, seed: AnySeed = None, *, inverse: bool = False) -> Tensor:
        """Return the numbers that a direction needs for data of shape (batch, *event): (batch, k), or None for none.

        `seed` is a whole number or a `keras.random.SeedGenerator`.
        """
        return drawn(self.noise_needs(x_shape, inverse=inverse), x_shape[0], self.compute_dtype, seed)

    def adapt(
        self,
        x: Tensor,
        context: Context = None,
        *,
        again: bool = True,
        noise: Tensor | None = None,
    ) -> Self:
        """Set what depends on data (an ActNorm's statistics) from the batch `x`; eager. Returns `self`.

        `again=False` leaves alone the parts that were adapted before, and have been trained since, perhaps.
        `noise` is what the forward direction needs.
        """
        x = ops.convert_to_tensor(x, dtype=self.compute_dtype)
        if 0 in x.shape:
            raise ContractError(
                "adapt", self, expected="at least one event", received=f"shape {as_tuple(x.shape)}"
            )
        if not self.built:
            self.build_for(as_tuple(x.shape), context_shape(context))
        self._check_input(x, context, False)
        check_noise(self, x, False, noise)
        self.run_adapt_alone(x, context, again, **given(noise))
        self._adapted = None
        return self

    @property
    def adapted(self) -> bool:
        """Return False if a data-dependent part still waits for `adapt`. A flag is a weight named `adapted`."""
        return is_adapted(self)

    # What combinators call: the hooks of built parts, without Keras's entry

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        """Return what a direction derives from weights alone, for inputs of `x_shape`: a nest of tensors or None."""
        return self._derive(x_shape, inverse) if self.takes_derived[inverse] else None

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Call one direction's hook with the arguments that it declares. The log-det may still be a scalar.

        `derived` is the result of `derive`; None derives it now.
        """
        inverse = call.inverse
        hook = self._inverse if inverse else self._forward
        more = {} if noise is None else {"noise": noise}
        if self.takes_derived[inverse]:
            more["derived"] = self._derive(x.shape, inverse) if derived is None else derived
        answer = hook(x, **more) if self.spec.context == "none" else hook(x, call.context, **more)
        if type(answer) is not tuple or len(answer) != 2:
            refuse_no_pair(answer)
        return answer

    def noise_needs(self, x_shape: Shape, *, inverse: bool) -> Tensor:
        """Return the numbers that a direction needs for a sample of data of `x_shape`: one `Need` per kind, in turn."""
        if not self.spec.draws(inverse=inverse):
            return ()
        kind = one_of(f"{type(self).__name__}.noise_kind", self.noise_kind, KINDS)
        size = whole_number(self.noise_size(as_tuple(x_shape)), f"{type(self).__name__}.noise_size", least=0)
        return (Need(kind, size),)

    def is_lossy(self, *, inverse: bool) -> bool:
        """Return True if that direction loses information, so that the other, after it, gives another point."""
        return False

    def rebuild(self, y: Tensor, call: Call, nudge: Any) -> tuple[Any, Any, Any]:
        """Return (x, output, log_det) of one direction, found from its output `y` alone; x counts as a constant.

        The hook runs on x + nudge. `nudge` is zero, and what gradients are taken with respect to. A
        bijector that finds x on the way, and so need not run both directions, overrides this.
        """
        x = ops.stop_gradient(self.run(y, call.turned())[0])
        return x, *self.run(x + nudge, call)

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> Any:
        """Call the `_adapt` hook, unless `again` is False and it has run before.

        A layer of several parts runs them on the way, and returns (output, log-det), others None.
        """
        if again or not self.adapted:
            self._adapt(x) if self.spec.context == "none" else self._adapt(x, context)

    def run_adapt_alone(
        self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> None:
        """Call `run_adapt` where nobody reads an output, so that a layer of several parts may end early."""
        self.run_adapt(x, context, again, **given(noise))

    @property
    def refreshes(self) -> bool:
        """Return True if something in the layer is refreshed once in a training step."""
        return type(self)._refresh is not FlowLayer._refresh

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        """Call the `_refresh` hook. What it assigns carries no gradients."""
        self._refresh(x) if self.spec.context == "none" else self._refresh(x, context)

    def build_for(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        """Build for data of `x_shape`; pass the context's shape if `build` takes it."""
        build_for(self, x_shape, context_shape)

    def split_levels(self) -> "tuple[list[FlowLayer], FlowLayer | None]":
        """Return (what comes before, the layer whose latents come in levels), the latter None if they do not."""
        return [self], None

    # Shapes for Keras

    @property
    def output_shape(self) -> Shape:
        """Return the latent's shape for the data that the layer was built for: what Keras's `summary` shows."""
        if self._built_on is None:
            raise AttributeError(f"{label(self)} has no output_shape before it is built")
        return self.compute_output_shape(self._built_on)

    @property
    def _built_on(self):
        """Return the data's shape that `build` was called with; None before."""
        build = (self.get_build_config() or {}) if self.built else {}
        named = build.get("shapes_dict", {})  # by the author's own names for the arguments of `build`
        shape = build.get("input_shape") or next((v for k, v in named.items() if k != "context_shape"), None)
        return None if shape is None else as_tuple(shape)

    def compute_output_spec(
        self, x: Tensor, context: Context = None, inverse: bool = False, noise: Tensor | None = None
    ) -> Any:
        self._check_input(x, context, inverse)
        self._see_adapted()
        shape = self.compute_inverse_shape if inverse else self.compute_output_shape
        shapes = shape(as_tuple(x.shape)), x.shape[:1]
        return tuple(keras.KerasTensor(found, self.compute_dtype) for found in shapes)

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        FlowLayer.weight_loads += 1  # by weights from before `adapt`, perhaps

    def set_weights(self, weights: Tensor) -> None:
        """Set the weights."""
        super().set_weights(weights)
        FlowLayer.weight_loads += 1

    # Manners

    def check_input(self, x: Tensor, context: Context, inverse: bool = False) -> None:
        """Raise ContractError for an input or a context that does not fit, or if a part waits for `adapt`."""
        self._check_input(x, context, inverse)
        known = self._adapted and self._adapted_at_load == FlowLayer.weight_loads
        if not known and not isinstance(x, keras.KerasTensor):
            self._check_adapted()

    def check_shape(self, shape: Shape, inverse: bool = False) -> None:
        """Raise ContractError if inputs of `shape` do not fit; the last shape that fitted is remembered."""
        if self._fitting != (shape[1:], inverse):
            self._check_shape(self.compute_inverse_shape(shape) if inverse else shape)
            self._fitting = (shape[1:], inverse) if self.built else None

    def _check_input(self, x, context, inverse):
        self.check_shape(as_tuple(x.shape), inverse)
        if context is None and self.spec.context == "required":
            raise needs_context(self)

    def _check_shape(self, x_shape):
        """Raise if data of `x_shape` do not fit the spec or the weights."""
        check_shape(self, x_shape, built=self._fixed_shape())

    def _fixed_shape(self):
        """Return the axes of the data that the weights were made for, None for a free one; None before that.

        Weights belong to channels, unless the spec says otherwise: the last axis is fixed, the others are free.
        """
        if self._fixed is None and self._built_on is not None:
            shape = self._built_on
            if self.spec.fixed_axes == "all":
                self._fixed = (None, *shape[1:])
            elif self.weights:
                self._fixed = (None,) * (len(shape) - 1) + (shape[-1],)
        return self._fixed

    def _see_adapted(self):
        """Look at the flags. In a step of another model they have no values, and what was last seen stays."""
        with contextlib.suppress(TypeError, NotImplementedError, RuntimeError):
            self._adapted, self._adapted_at_load = is_adapted(self), FlowLayer.weight_loads

    def _check_adapted(self):
        """Raise ContractError if something in the layer waits for `adapt`, also while an engine traces."""
        self._see_adapted()
        if self._adapted is False:
            raise waits_for_adapt(self)


def _missing_hook(layer, hook, given):
    """Return the message for a hook that an author has not written; name a method whose name is nearly the hook's."""
    message = f"{type(layer).__name__} has no {hook}(self, {given})"
    own = set(dir(type(layer))) - set(dir(FlowLayer))
    if near := difflib.get_close_matches(hook, own, n=1, cutoff=0.8):
        return f"{message}, but {near[0]}: rename that to {hook}."
    return f"{message}."


def _refuse_public_names(kind):
    """Raise TypeError for a class that writes `forward` or `inverse`, as other libraries call the two directions.

    PyTorch runs the first of every Keras layer. The second is the base's call of the hook, and does no harm if the hook
    is there too.
    """
    for name in ("forward", "inverse"):
        hook = f"_{name}"
        if name in vars(kind) and (name == "forward" or getattr(kind, hook) is getattr(FlowLayer, hook)):
            raise TypeError(
                f"{kind.__name__}: got a method {name}, expected the hooks _forward(self, x) and _inverse(self, z). "
                f"Rename {name} to {hook}, since the layer itself is called."
            )


def _refuse_unused_hooks(kind):
    """Raise TypeError for a class that writes a hook although the `run` that it inherits calls none."""
    unused = [hook for hook in _HOOKS.values() if hook in vars(kind)]
    if unused and not kind.runs_hooks and "run" not in vars(kind):
        raise TypeError(
            f"{kind.__name__}: got a hook {unused[0]}, expected run(self, x, call, noise=None, derived=None), since "
            f"{kind.__base__.__name__} calls no hooks. Override run, or derive from Bijector."
        )


def adapts(layer: keras.Layer | None) -> bool:
    """Return True if a layer, or one inside it, takes something from data: it has a flag, or a hook without one."""
    return layer is not None and (bool(adapted_flags(layer)) or any(map(_has_adapt, layers_inside(layer))))


def _has_adapt(layer):
    if not getattr(layer, "takes_statistics", True):  # its `adapt` only answers
        return False
    hook = type(layer)._adapt if isinstance(layer, FlowLayer) else getattr(layer, "adapt", None)
    return hook not in (None, FlowLayer._adapt)


class Bijector(FlowLayer):
    """An invertible map: `z, log_det = bijector(x)` and `x, log_det = bijector.inverse(z)`.

    `x` is (batch, *event), channels last. `log_det` is log|det d output / d input| of the direction
    that was called, shape (batch,), never below float32. Neither direction changes state.

    Authors write two hooks, and `build` and `_adapt` if they are needed. The hooks take `context` as a second argument
    exactly if `spec.context` is not "none", `noise=` exactly if the spec says that this direction draws, and may return
    a scalar log-det if it does not depend on x. Arguments of `__init__` are kept as attributes of their names; configs
    and `repr` follow from them (see `flowkit.contract.configured.Configured`).

    >>> from keras import ops
    >>> from flowkit.contract import BijectorSpec
    >>> class Twice(Bijector):
    ...     spec = BijectorSpec(log_det="constant")
    ...     def _forward(self, x):
    ...         return 2 * x, ops.log(2.0) * x.shape[-1]
    ...     def _inverse(self, z):
    ...         return z / 2, -ops.log(2.0) * z.shape[-1]
    >>> z, log_det = Twice()(ops.ones((5, 3)))
    >>> tuple(log_det.shape)
    (5,)

    The maths of a bijector runs in its variables' dtype and at least in float32: under a mixed
    policy only the conditioner networks compute in low precision.

    - `noise_size(x_shape)`, if the spec has noise: how many numbers the hooks are given for a sample, as one flat
      tensor (batch, k) of standard normals (of uniform numbers if `noise_kind` is "uniform"). Both directions must
      undo each other whatever they are; only the log-det may be a random estimate.
    - `_refresh(x)` is called once in a training step, and may assign to weights that are not trained.
    """


class Surjection(FlowLayer):
    """A map with one direction that drops something, and another that draws it anew from noise.

    The spec says which: `noise="inverse"` (forward drops entries, the way back draws them; the likelihood is exact), or
    `noise="forward"` (the way back drops what forward had drawn; the likelihood is a bound). As for a `Bijector` both
    directions return (output, log_det), and a `Chain` takes both. What is returned as log_det is the term that the
    layer adds to the likelihood: with q the density of what is dropped,

    - log q(dropped | kept) of the direction that drops it, and -log q(drawn | kept) of the one that draws it;
    - so it is log|det| of (input, noise) -> output less the log-density of the noise, in the direction that draws.

    Nielsen, Jaini, Hoogeboom, Winther & Welling, SurVAE Flows (2020).

    >>> from flowkit.contract import BijectorSpec
    >>> class Halved(Surjection):
    ...     spec = BijectorSpec(event_rank=1, noise="inverse", log_det="varying")
    ...     def noise_size(self, x_shape):
    ...         return x_shape[-1] // 2
    >>> Halved().is_lossy(inverse=False), Halved().is_lossy(inverse=True)
    (True, False)
    """

    def is_lossy(self, *, inverse: bool) -> bool:
        """Return True if that direction loses information: the one that the other draws anew."""
        return self.spec.draws(inverse=not inverse)


Part = Annotated[Any, instance(FlowLayer, "a bijector")]
