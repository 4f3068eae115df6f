"""The model: a bijector and the base density of its latents."""

from typing import Any

import keras
from keras import ops

from flowkit.contract import FlowLayer
from flowkit.contract.arguments import shown
from flowkit.contract.building import build_for
from flowkit.contract.precision import full_precision, warn_of_other_precision
from flowkit.contract.saving import built_late, refuse_shared
from flowkit.contract.shapes import as_tuple
from flowkit.data.frame import Columns
from flowkit.distributed.group import note_model
from flowkit.distributions import Normal
from flowkit.engines import engine
from flowkit.flow.context import refuse_other_classes
from flowkit.flow.dequantizing import check_dequantizer, draws_elsewhere
from flowkit.flow.embedding import build_embedding, check_embedding
from flowkit.flow.export import Exported
from flowkit.flow.fitting import Fitting
from flowkit.flow.in_batches import map_leaves
from flowkit.flow.inputs import pack, plain_shape, refuse_other_domain, unpack
from flowkit.flow.metrics import MeanOfCounted
from flowkit.flow.reparameterized import draw
from flowkit.flow.saved import Saved
from flowkit.flow.turns import Turns, put_back
from flowkit.objectives import MaximumLikelihood, Objective


@keras.saving.register_keras_serializable("flowkit")
class Flow(Saved, Fitting, Exported):
    """log p(x) = log p_base(f(x)) + log|det df/dx|, for a bijector f from data to latents.

    A `keras.Model`: `compile`, `fit`, `evaluate`, callbacks, `save` are Keras's; the loss is the mean of
    -log_prob, or another objective of `flowkit.objectives`. Called on data (or `{"x": ..., "context": ...}`) it
    returns log_prob as a tensor that carries gradients; its methods, but for `draw`, return numpy arrays and keep none.

    - `base`: the density of the latents; None is the standard normal.
    - `embedding`: a Keras layer or model that reads the context, once for each call; what it answers is the context
      of the bijector and the base. A context of several tensors, a dict, goes to one whose `call` takes the dict.
    - `dequantize`: a `flowkit.data.Dequantize`, or a surjection with its methods, if the data are whole values such as
      uint8 images; log_prob is then a lower bound of the log-probability of the image as stored.

    Data may be a pandas or polars DataFrame. The flow keeps the names of the columns of the first that `fit` or `adapt`
    is given, in `columns`, and a file keeps them too: columns in another order are put right, other columns
    refused, and samples are such a frame. `flow.columns = None` turns it back to arrays. A context may be a frame as
    well, whose columns are `context_columns`.

    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> round(float(flow.log_prob(keras.ops.zeros((1, 2)))[0]), 4)  # -ln(2 pi)
    -1.8379
    """

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
        if not isinstance(bijector, FlowLayer):
            raise TypeError(f"Flow expects a bijector, received {bijector!r}.{_instead(bijector)}")
        if base is not None and not isinstance(base, keras.Layer):
            raise TypeError(
                f"Flow expects a base density, such as flowkit.distributions.StudentT(), received {shown(base)}."
            )
        check_dequantizer(dequantize)
        refuse_shared(bijector)
        refuse_other_classes(bijector, base)
        refuse_other_domain(bijector, base)
        check_embedding(embedding, bijector, base)
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
        self.objective: Objective = MaximumLikelihood()
        self.sampler = keras.random.SeedGenerator()
        # Of training: samples that a callback asks for must not change it.
        draws = bijector.spec.draws(inverse=False) or draws_elsewhere(dequantize)
        self.noise = keras.random.SeedGenerator() if draws else None
        self.turns = Turns()
        self.nll = MeanOfCounted(name="nll")
        self.bits = MeanOfCounted(name="bits_per_dim")
        self._late: frozenset[str] = frozenset()  # layers of the base that its `build` leaves unbuilt
        self._scoring = False  # inside an evaluation
        self._asked = False  # inside an objective

    # What Keras calls

    def build(self, input_shape: Any) -> None:
        """Make the weights for data of shape (None, *event), or {"x": shape, "context": shape}."""
        x_shape, c_shape = (plain_shape(shape) for shape in unpack(input_shape))
        self.bijector._check_shape(x_shape)
        if self.dequantize is not None:
            self.dequantize.build_for(x_shape)
        if self.embedding is not None:
            c_shape = build_embedding(self, c_shape)
        self.bijector.build_for(x_shape, c_shape)
        self.event_shape = x_shape[1:]
        # Keras traces the model anew before each batch while a layer is not built.
        build_for(self.base, as_tuple(self.bijector.compute_output_shape(x_shape)), c_shape)
        self._late = built_late(self.base)
        self.built = True

    def __call__(self, inputs: Any, *args: Any, context: Any = None, **kwargs: Any) -> Any:
        """log_prob of `x`, given a `context` if there is one, or of `{"x": ..., "context": ...}`, with gradients."""
        put_back(self, "flow(x)")
        return super().__call__(pack(inputs, context), *args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """log_prob in nats, (batch,): noise is drawn anew at each call.

        In training on another objective than likelihood it gives that objective's losses, {"loss": (batch,)}.
        """
        training = training and not self._asked
        if training and not self._trains_on_likelihood:
            return self._objective_losses(inputs)
        x, context = unpack(inputs)
        context = self.embed(context)
        x, volume = self._continuous(x)
        noise = self._noise_for(x)
        self._refresh(x, context, noise, training)
        with engine.compiling_parts(when=self.jit_compile):
            return self._answered(x, context, noise, volume)

    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *given: Any,
        return_losses: bool = False,
        **more: Any,
    ) -> Any:
        """Keras's, but through `__call__`: layers inside find `training` in its call context, which `call` skips.

        Arrays become tensors first, as a step that runs eagerly on JAX passes numpy arrays.
        """
        mapping = [
            *zip(self.trainable_variables, trainable_variables, strict=True),
            *zip(self.non_trainable_variables, non_trainable_variables, strict=True),
        ]
        with keras.StatelessScope(mapping, collect_losses=return_losses) as scope:
            answer = self(*map_leaves(ops.convert_to_tensor, given), **more)
            losses = self.losses if return_losses else None
        changed = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
        return (answer, changed, losses) if return_losses else (answer, changed)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch,), the shape of log_prob."""
        return (unpack(input_shape)[0][0],)

    def compute_output_spec(self, *given: Any, **more: Any) -> Any:
        """Keras's, for which it takes the flow apart: the last moment to see whether the flow is adapted."""
        self.bijector._see_adapted()
        return super().compute_output_spec(*given, **more)

    def draw(self, n: int, context: Any = None, seed: Any = None) -> tuple[Any, Any]:
        """(x, log q(x)), x = f^-1(z) for z from the base: `n` draws, tensors with gradients. In training steps as well.

        x is (n, *event), log q(x) (n,); for a context of b rows (n, b, *event) and (n, b). Raises ValueError with
        `dequantize`, and ContractError for a flow that is not built: `flow.build((None, d))`.

        >>> from flowkit.bijectors import Scale
        >>> flow = Flow(Scale(0.0))
        >>> flow.build((None, 2))
        >>> x, log_q = flow.draw(5, seed=0)
        >>> tuple(x.shape), tuple(log_q.shape)
        ((5, 2), (5,))
        """
        put_back(self, "draw")
        return draw(self, n, context, seed)

    def summary(
        self, line_length: int | None = None, *, print_fn: Any = None, expand_nested: bool = False
    ) -> None:
        """Print the flow's parts in their order: level, latents, weights, log-det, and what training keeps of them.

        Of alike blocks the first stands for all, `8 x`, unless `expand_nested`. `print_fn` is given the text in place
        of the terminal; `line_length` is in characters.

        >>> from flowkit.bijectors import Scale
        >>> flow = Flow(Scale(0.5))
        >>> flow.build((None, 2))
        >>> flow.summary(print_fn=lambda text: print(text.splitlines()[-1].strip()))
        log_prob is exact
        """
        from flowkit.flow.summary import show  # for the few who ask: it takes a moment

        show(self, line_length, print_fn, expand_nested)


def _instead(received):
    """What to write in place of what is no bijector."""
    if isinstance(received, list | tuple):
        return " Make one of several: flowkit.bijectors.Chain([...])."
    if isinstance(received, type) and issubclass(received, FlowLayer):
        return f" Call the class: {received.__name__}(...)."
    return ""
