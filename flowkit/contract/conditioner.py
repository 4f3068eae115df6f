"""Networks that return parameters of a bijector: their base class, and functions that build, call and adapt them."""

from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract.adaptation import adapt_layer
from flowkit.contract.arguments import ContextWord, Count, shown
from flowkit.contract.call import declares_derived, goes_with
from flowkit.contract.configured import Configured, add_argument
from flowkit.contract.errors import ContractError
from flowkit.contract.precision import floats_as
from flowkit.contract.shapes import Context, Shape, Tensor, as_tuple

LAYOUTS = ("interleaved", "contiguous")


class Conditioner(Configured, keras.Layer):
    """h = conditioner(x) or conditioner(x, context): a network whose outputs are the parameters of a bijector.

    - `features`: the number of output channels; None: set by the bijector before `build`.
    - `context`: "none", "optional" or "required", as in `BijectorSpec`.
    - `num_classes`: how many classes the labels of its context may name; None for no labels.

    Authors write `call(x, context=None)`, `compute_output_shape` unless it changes the channels of x alone, and
    `build(x_shape, context_shape=None)` if it has weights; `adapt(x, context=None)` if something in it depends on data,
    without which layers inside that have an `adapt` and a flag (see `adapted_flag`) take the first batch that reaches
    them; `refresh(x, context=None)` if something is refreshed once in a training step, such as a spectral norm. A
    context may be a dict of tensors. Any Keras layer or model may stand in its place, and those of the attributes above
    that it has are read.

    `_derive(x_shape)`, optional, returns a dict of tensors that depend on the weights alone: `call` then receives it as
    `derived=`, or None if it was not computed. As in `Bijector`, it works for weights with leading axes.

    An autoregressive one may have `in_turn`, which computes the parameters of one entry as soon as those before it are
    known, in less than a pass: see `flowkit.conditioners.made`. Without it the inverse of `Autoregressive`
    calls it for all entries until nothing changes.

    >>> class Doubled(Conditioner):
    ...     def call(self, x, context=None):
    ...         return ops.concatenate([x, x], axis=-1)
    ...     def compute_output_shape(self, x_shape):
    ...         return (*x_shape[:-1], 2 * x_shape[-1])
    >>> tuple(Doubled().run(ops.ones((4, 3))).shape)
    (4, 6)
    """

    autoregressive = False  # True if its output for an entry depends on those before it alone
    takes_derived = False  # True if `call` receives `derived=`

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.takes_derived = declares_derived(cls, "call")

    def __init__(
        self,
        *,
        features: Count | None = None,
        context: ContextWord = "none",
        num_classes: Count | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.features, self.context, self.num_classes = features, context, num_classes

    def run(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        """Return `self(x, context)` of a built network, without Keras's `__call__` if the precision needs none.

        The entry costs a third of eager torch's time, and torch would compile each network anew for its name.
        """
        own = self.compute_dtype
        answer = self.call if own == self.variable_dtype else self
        more = {} if derived is None else {"derived": derived}
        return answer(floats_as(x, own) if isinstance(x, dict) else as_type(x, own), context, **more)

    def compute_output_shape(self, x_shape: Shape, *context_shape: Shape) -> Shape:
        """Return the shape of the output, which is that of x but for its channels."""
        return (*x_shape[:-1], self.features)


def network(value: Any, name: str) -> Any:
    """Return a network, or None. Raises TypeError for anything else."""
    if value is not None and not isinstance(value, keras.Layer):
        raise TypeError(
            f"{name}: got {shown(value)}, expected a Conditioner or a Keras layer, such as MLP([64])."
        )
    return value


Network = Annotated[keras.Layer | None, network]


def network_of_context(value: Any, name: str) -> Any:
    """Return a network whose input is the context, or None. Raises ContractError if it takes another input as well."""
    if context_of(network(value, name)) != "none":
        wanted, hint = "a conditioner whose input is the context", "Leave context= out of its arguments."
        received = f"one with context={value.context!r}"
        raise ContractError("conditioner", name, expected=wanted, received=received, hint=hint)
    return value


NetworkOfContext = Annotated[keras.Layer | None, network_of_context]


def context_of(conditioner: Any) -> str:
    """Return "none", "optional" or "required": if a conditioner, or None, takes a context."""
    return getattr(conditioner, "context", "none")


def _reads(conditioner, context):
    """Return the context as a keyword, or no keyword for a conditioner that takes none."""
    return {} if context_of(conditioner) == "none" else {"context": context}


def build_conditioner(
    owner: Any, conditioner: Any, features: int, x_shape: tuple[Any, ...], context_shape: Shape | None = None
) -> tuple[int | None, ...]:
    """Set the number of channels of a conditioner's output, build it for its inputs, and return its output's shape.

    Raises ContractError, in the name of its `owner`, for another number of channels.
    """
    if getattr(conditioner, "features", 0) is None:
        add_argument(conditioner, "features", features)
    if not conditioner.built:
        conditioner.build(*((x_shape,) if context_of(conditioner) == "none" else (x_shape, context_shape)))
    output = as_tuple(conditioner.compute_output_shape(x_shape))
    if output[-1] != features:
        wanted = f"{type(conditioner).__name__} to return {features} channels"
        hint = "If it takes features=, leave them out: its layer sets them."
        raise ContractError("conditioner", owner, expected=wanted, received=f"shape {output}", hint=hint)
    return output


def build_on_context(owner: Any, conditioner: Any, features: int, context_shape: Shape) -> None:
    """Build a conditioner whose input is the context, and whose output is one vector for each sample.

    Raises ContractError, in the name of its `owner`, for no context, for labels if the conditioner has no classes (it
    would take the labels of a batch for one vector), and for another output.
    """
    labels = isinstance(context_shape, tuple) and len(context_shape) == 1
    if context_shape is None or (labels and getattr(conditioner, "num_classes", None) is None):
        wanted = "vectors (batch, k) as context, the input of its conditioner"
        received = "none" if context_shape is None else f"shape {context_shape}"
        hint = "keras.ops.one_hot makes vectors of labels."
        raise ContractError("context", owner, expected=wanted, received=received, hint=hint)
    output = build_conditioner(owner, conditioner, features, context_shape)
    if len(output) != 2:
        wanted = f"{type(conditioner).__name__} to return one vector for each sample"
        received = f"shape {output}, for a context of shape {context_shape}"
        hint = "Pass the flow an embedding= that makes one vector of each context."
        raise ContractError("conditioner", owner, expected=wanted, received=received, hint=hint)


def derive(conditioner: Any, x_shape: tuple[Any, ...]) -> Any:
    """Return what depends on a conditioner's weights alone, for inputs of `x_shape`; None without a `_derive`."""
    return conditioner._derive(x_shape) if getattr(conditioner, "takes_derived", False) else None


def in_turn_of(conditioner: Any) -> Any:
    """Return a conditioner's `in_turn`, or None; it must belong to the class that defines `call`, or below."""
    return conditioner.in_turn if goes_with(type(conditioner), "in_turn", "call") else None


def ask(
    conditioner: Any, x: Tensor, context: Context, dtype: str, derived: dict[str, Tensor] | None = None
) -> Any:
    """Return a conditioner's output in the type `dtype`; `derived` is what `derive` returned, or None."""
    # As `_reads`, without two calls on the way of each call of a flow.
    more = {} if getattr(conditioner, "context", "none") == "none" else {"context": context}
    if derived is not None:
        more["derived"] = derived
    # `run_inside` is the same of layers that are no `Conditioner`.
    inside = "run" if isinstance(conditioner, Conditioner) else "run_inside"
    return as_type(getattr(conditioner, inside, conditioner)(x, **more), dtype)


def as_type(x: Tensor, dtype: str) -> Any:
    """Return `x` in a type, by name; as it is if that is its own, since `keras.ops` takes longer to find that out."""
    # By the words that the engine has for it: Keras's way to the name of a type takes ten times as long.
    return x if str(x.dtype).rpartition(".")[2] == dtype else ops.cast(x, dtype)


def adapt_conditioner(conditioner: Any, x: Tensor, context: Context, again: bool = True) -> None:
    """Adapt a conditioner and its layers to a batch; do nothing for None.

    `again=False` leaves alone what was adapted before.
    """
    if conditioner is None:
        return
    adapt_layer(
        conditioner,
        lambda: conditioner.adapt(x, **_reads(conditioner, context)),
        lambda: ask(conditioner, x, context, conditioner.compute_dtype),
        again,
    )


def refreshes(conditioner: Any) -> bool:
    """Return True if a conditioner is refreshed once in a training step: it has `refresh`."""
    return hasattr(conditioner, "refresh")


def refresh_conditioner(conditioner: Any, x: Tensor, context: Context) -> None:
    """Call a conditioner's `refresh` on a batch, if it has one."""
    if refreshes(conditioner):
        conditioner.refresh(x, **_reads(conditioner, context))


def split_parameters(h: Tensor, parameters: int, layout: str) -> Any:
    """Return an answer (batch, *places, channels * parameters) as (batch, *places, parameters, channels).

    "interleaved": those of one channel stand together; "contiguous": those of one kind. Published Glow interleaves in
    couplings and split priors and takes halves in the top prior; of its ports some take halves everywhere.

    >>> h = ops.reshape(ops.arange(6), (1, 6))
    >>> ops.convert_to_numpy(split_parameters(h, 2, "interleaved")[0]).tolist()
    [[0, 2, 4], [1, 3, 5]]
    """
    places, channels = h.shape[1:-1], h.shape[-1] // parameters
    contiguous = layout == "contiguous"
    shape = (-1, *places, parameters, channels) if contiguous else (-1, *places, channels, parameters)
    # A tensor's own methods, if it has them, take a tenth of the time that `keras.ops` does.
    h = h.reshape(shape) if hasattr(h, "swapaxes") else ops.reshape(h, shape)
    if contiguous:
        return h
    return h.swapaxes(-1, -2) if hasattr(h, "swapaxes") else ops.swapaxes(h, -1, -2)
