"""Alike bijectors one after another, with one variable for each weight of all of them."""

import itertools
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import engines
from flowkit.bijectors.chain import Chain, Steps
from flowkit.bijectors.replay import Backprop, Drift, Replayed, replay, smallest
from flowkit.contract import Bijector, Context, ContractError, FlowLayer, Shape, Tensor
from flowkit.contract.adaptation import adapted_flags
from flowkit.contract.arguments import whole
from flowkit.contract.call import Call
from flowkit.contract.errors import label
from flowkit.contract.flow_layer import Part
from flowkit.contract.inside import kept_frozen, layers_inside
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine

_OF_EACH_ENTRY = {type(None), keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2}


class Repeat(Replayed):
    """z = (f_n o ... o f_1)(x): `n` independent copies of `block`, a bijector, one after another.

    `Repeat(block, n)` is `Chain([make_block() for _ in range(n)])` with its weights stored together: each weight of
    the block is one variable of shape (n, *shape), whose row i belongs to the copy i. Optimizers, files and summaries
    then handle as many variables as one block has, and what follows from the weights alone (`_derive`) is computed once
    for all copies.

    - Each copy draws its own initial weights. A `seed` s of the block counts up: the copy i draws from s + i.
    - `adapt` adapts copy after copy. Noise, context and gradients are those of the chain.
    - `backprop`: what is kept for the backward pass, as in `Chain`.
    - `block`: a copy to read the structure from. Its `trainable` attributes freeze the same layers of all copies;
      its own weights are not used. `copies()` returns the copies as separate layers, `chain()` a `Chain` of them;
      `assign(copies)` sets the weights.
    - An optimizer sees the stack as one weight. That matters if it uses the norm of each weight, as LAMB and
      `clipnorm` do: use `global_clipnorm`.

    Raises ValueError if `n` is not a whole number from 1 up or `block` was built before; TypeError if `block` is not a
    bijector; ContractError, when it is built, if the block changes the shape of the event, has weight constraints,
    activity regularizers or regularizers other than L1 and L2, or if its copies differ in the shapes of their weights.
    Use `Chain([make_block() for _ in range(n)])` then.
    Kingma & Dhariwal, Glow (2018), repeat one step in this way.

    >>> from flowkit.bijectors import Chain, Conv1x1, Coupling
    >>> from flowkit.conditioners import MLP
    >>> layer = Repeat(Chain([Conv1x1(), Coupling(MLP([32]))]), 8)
    >>> z, log_det = layer(ops.ones((4, 6)))
    >>> tuple(z.shape), tuple(log_det.shape), tuple(layer.weights[0].shape)
    ((4, 6), (4,), (8, 6, 6))
    """

    def __init__(
        self,
        block: Part,
        n: Annotated[int, whole(1, 2**16)],
        *,
        backprop: Backprop = "stored",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if block.built:
            raise ValueError(
                f"Repeat's block: got {label(block)}, which is built, expected a block that has no weights yet."
            )
        self.n, self.backprop = n, backprop
        self._held = _Held(block)
        self._drift = Drift(self)
        self._declare()

    @property
    def block(self) -> Bijector:
        """Return a copy of the block, from which the structure can be read."""
        return self._held.block

    repeated_block = block  # the name by which `layers_inside` finds it

    @property
    def _members(self):
        return [self.block] * self.n

    def _shapes(self, x_shape):
        return [x_shape] * self.n

    @property
    def rows_to_adapt(self) -> int:
        return max(getattr(layer, "rows_to_adapt", 0) for layer in layers_inside(self.block))

    def latent_rank(self, rank: int | None) -> int | None:
        return self.block.latent_rank(rank)

    # Weights

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.block._check_shape(x_shape)
        copies = [self.block, *(self._copy(i) for i in range(1, self.n))]
        with kept_frozen(self.block):
            for copy in copies:
                copy.build_for(x_shape, context_shape)
            self._refuse_unstackable(x_shape, copies)
            self._held.shapes = x_shape, context_shape
            for alike in zip(*(copy.variables for copy in copies), strict=True):
                self._held.stacked.append(self._stacked_variable(alike))
        self._declare_built()
        self._held.keep_for_calls(self)

    def _copy(self, number):
        """Return an unbuilt copy of the block, whose seeds are `number` higher."""
        # Registered or not.
        classes = {type(layer).__name__: type(layer) for layer in layers_inside(self.block)}
        config = _fresh(self._block_config(), number)
        return keras.saving.deserialize_keras_object(config, custom_objects=classes)

    def _block_config(self):
        with engines.sparing_tensorflow():
            return _fresh(keras.saving.serialize_keras_object(self.block))

    def _refuse_unstackable(self, x_shape, copies):
        """Raise ContractError for a block whose copies cannot share variables."""
        received = None
        if as_tuple(self.block.compute_output_shape(x_shape)) != as_tuple(x_shape):
            received = f"one that makes {self.block.compute_output_shape(x_shape)} of {as_tuple(x_shape)}"
        kinds = [[(tuple(v.shape), v.dtype) for v in copy.variables] for copy in copies]
        if any(kind != kinds[0] for kind in kinds):
            received = "one whose copies have weights of different shapes"
        if any(variable.constraint is not None for variable in self.block.variables):
            received = "one with a weight constraint, which would see the weights of all copies"
        if any(getattr(layer, "activity_regularizer", None) for layer in layers_inside(self.block)):
            received = "one with an activity regularizer"
        kinds = {type(variable.regularizer) for variable in self.block.variables} - _OF_EACH_ENTRY
        if kinds:
            received = (
                f"one with the regularizer {kinds.pop().__name__}, which would see the weights of all copies"
            )
        if received is not None:
            wanted = "a block that keeps the event's shape and only computes"
            hint = "Use Chain([make_block() for _ in range(n)])."
            raise ContractError("repeat", self, expected=wanted, received=received, hint=hint)

    def _stacked_variable(self, alike):
        """Return the variable of shape (n, *shape) for a weight of all copies, with their values, `alike`."""
        like = alike[0]
        return self.add_weight(
            shape=(self.n, *like.shape),
            initializer=lambda shape, dtype: engine.stack([ops.cast(engine.tensor(v), dtype) for v in alike]),
            name="_".join(like.path.split("/")[-2:]),
            dtype=like.dtype,
            trainable=like.trainable,
            regularizer=like.regularizer,
        )

    @property
    def variables(self) -> list[keras.Variable]:
        self._freeze_as_block()
        return super().variables

    @property
    def weights(self) -> list[keras.Variable]:
        self._freeze_as_block()
        return super().weights

    def _freeze_as_block(self):
        """Let the variables be trained if the block's own are."""
        for like, stacked in self._held.pairs:
            trained = self.trainable and like.trainable
            if stacked.trainable != trained:
                stacked.trainable = trained

    def copies(self) -> list[Bijector]:
        """Return the n copies as separate built layers, with the values of their weights."""
        copies = []
        for number in range(self.n):
            copy = self._copy(number)
            copy.build_for(*self._held.shapes)
            for variable, (_, column) in zip(copy.variables, self._held.pairs, strict=True):
                variable.assign(column.value[number])
            copies.append(copy)
        return copies

    def chain(self) -> Chain:
        """Return `copies()` as a `Chain`, which answers and adapts as this layer does."""
        chain = Chain(self.copies())
        chain.build(*self._held.shapes)
        return chain

    def assign(self, copies: list[Bijector]) -> None:
        """Set the weights of all copies to those of n built layers, such as `copies()` returns."""
        if len(copies) != self.n:
            raise ValueError(f"Repeat.assign: got {len(copies)} layers, expected {self.n}.")
        columns = zip(*(copy.variables for copy in copies), strict=True)
        for (_, column), rows in zip(self._held.pairs, columns, strict=True):
            column.assign(np.stack([ops.convert_to_numpy(row) for row in rows]))

    # Running. The block is one layer, whose own variables hold nothing that is used: a `CopyScope` sets what they are.
    #
    # 1. With the number None, each is the variable of all copies, (n, *shape). The layers of the block that `_derive`
    #    something from their weights do it so, once for all copies; the result is split into one for each copy.
    # 2. With the number i, each is row i of it. The copy i runs so, with its part of what was derived, and a layer that
    #    reads `self.weight` in its hook reads that of the copy. What a layer assigns goes into the scope.
    # 3. After the last copy, values that were assigned are put into the variables of all copies.

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        """Return for each copy what the steps of its block derive, or None for a step that runs other layers."""
        return self._split(self._derive_all(self._scope(), x_shape, inverse))

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        if self.backprop != "stored" and engine.records_gradients() and not call.for_export:
            return replay(self, [self], x, call)
        scope, traced = self._scope(), engine.traces()
        if derived is None:
            derived = self._derive_all(scope, x.shape, call.inverse)
            if traced and self._held.scans and noise is None and not call.for_export:
                return self._scan(scope, x, call, derived)
            derived = self._split(derived)
        if traced:
            scope.unstack()
        shares: list[Any] = [None] * self.n
        if noise is not None:
            shares = [[share] for share in self._split_noise(noise, x, call.inverse)]
        total: Any = 0.0
        with scope:
            for i in reversed(range(self.n)) if call.inverse else range(self.n):
                scope.number = i
                x, log_det = self._held.steps.run(x, call, shares[i], derived[i])
                total = total + log_det
        if scope.assigned:
            self._keep(scope.stacked())
        for loss in scope.losses:
            self.add_loss(loss)
        return x, total

    def _visit(self, x, context, noise, visit):
        scope, numbers = self._scope(), itertools.count()

        def visit_copy(part, x, share):
            scope.number = next(numbers)
            return visit(part, x, share)

        with scope:
            y, log_det = super()._visit(x, context, noise, visit_copy)
        self._keep(scope.stacked())
        return y, log_det

    def run_adapt(
        self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._adapt_as_one(x, context, again, noise) or super().run_adapt(x, context, again, noise)

    def run_adapt_alone(
        self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> None:
        if self._adapt_as_one(x, context, again, noise) is None:
            super().run_adapt_alone(x, context, again, noise)

    def _adapt_as_one(self, x, context, again, noise):
        """Adapt all copies in one program, which saves JAX seconds; return (output, log-det), or None if none can."""
        alike = again or not any(flag.any() for flag in map(ops.convert_to_numpy, adapted_flags(self)))
        if not (engine.compiles_inference and self._held.scans and noise is None and alike):
            return None
        try:
            x, log_det, assigned = engine.run_pure(self._adapt_all, self._scope().stacks, x, context)
        except TypeError:  # an `_adapt` that computes in numpy cannot be traced
            return None
        self._keep(assigned)
        return x, log_det

    def _adapt_all(self, stacks, x, context):
        """Adapt copy after copy; return (output, log-det, what was assigned)."""
        block = self._held.block

        def step(x, values):
            with CopyScope(self._held.places, values) as inside:
                x, log_det = block.run_adapt(x, context) or block.run(x, Call(context))
            assigned = {place: inside.stacks[place] for place in inside.assigned}
            return ops.cast(x, self.compute_dtype), (log_det, assigned)

        x, (log_det, assigned) = engine.scan(step, x, stacks, self.n, reverse=False)
        return x, ops.sum(log_det, axis=0), assigned

    def _scope(self):
        """Return the scope that sets the variables of the block to those of the copies."""
        return CopyScope(self._held.places, map(engine.tensor, self._held.stacked))

    def _derive_all(self, scope, x_shape, inverse):
        """Return what each step of the block derives from the weights of all copies at once, or None."""
        scope.number = None
        with scope:
            return self._held.steps.derive(x_shape, inverse, stacked=True)

    def _split(self, derived):
        """Split what the steps derive for all copies into a list with the part of each copy."""
        try:
            return split_copies(derived, self.n)
        except ValueError:
            for step, own in zip(self._held.steps.steps, derived, strict=True):
                self._check_leading_axis(step, own)
            raise

    def _check_leading_axis(self, step, derived):
        """Raise ContractError for a derived tensor without one entry for each copy."""
        if all(tuple(tensor.shape)[:1] == (self.n,) for tensor in _tensors(derived)):
            return
        name = " and ".join(map(label, getattr(step, "parts", [step])))
        wanted = f"_derive of {name} to return tensors with a leading axis of {self.n}"
        received = f"shapes {[tuple(tensor.shape) for tensor in _tensors(derived)]}"
        hint = "It runs once for the weights of all copies: write it with negative axes."
        raise ContractError("repeat", self, expected=wanted, received=received, hint=hint)

    def _scan(self, scope, x, call, derived):
        """Run the copies in a loop of the engine, which compiles one of them for all."""
        for part, own in zip(self._held.steps.steps, derived, strict=True):
            self._check_leading_axis(part, own)

        def step(x, row):
            values, tensors = row
            with CopyScope(self._held.places, values) as inside:
                own = _filled(derived, iter(tensors))
                x, log_det = self._held.steps.run(x, call, None, own)
            assigned = {place: inside.stacks[place] for place in inside.assigned}
            return ops.cast(x, self.compute_dtype), (log_det, inside.losses, assigned)

        stacks = scope.stacks, _tensors(derived)
        x, (log_det, losses, assigned) = engine.scan(step, x, stacks, self.n, reverse=call.inverse)
        self._keep(assigned)
        for loss in losses:
            self.add_loss(ops.sum(loss))
        return x, ops.sum(log_det, axis=0)

    def _keep(self, assigned):
        """Keep values that were assigned to weights of the copies, such as statistics of a BatchNormalization."""
        for place, values in assigned.items():
            self._held.stacked[place].assign(values)

    def stretch(self) -> "engines.Stretch":
        """Return the parts of the block, their variables and the values of all copies, for `replay`."""
        parts = smallest([self.block])
        stacks = {id(like): engine.tensor(stacked) for like, stacked in self._held.pairs}
        variables = [part.variables for part in parts]
        values = [[stacks[id(variable)] for variable in own] for own in variables]
        looped = engine.traces() and self._held.scans
        return engines.Stretch(parts, variables, values, self.n, looped)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self._block_config()}


class _Held:
    """Hold what Keras must not track: the block, whose own weights are not used, and the variables a second time."""

    def __init__(self, block):
        self.block, self.stacked, self.shapes = block, [], None
        self.pairs = []  # of each variable of the block and that of all copies, which is in `stacked`

    def keep_for_calls(self, repeat):
        """Keep what calls of a built `repeat` read: the steps of its block, its variables and layers."""
        self.pairs = list(zip(self.block.variables, self.stacked, strict=True))
        self.steps = Steps([self.block], repeat.spec)
        self.places = {id(variable): place for place, variable in enumerate(self.block.variables)}
        inside = list(layers_inside(self.block))
        types = {layer.compute_dtype for layer in inside if isinstance(layer, FlowLayer)}
        # While a program is made, one copy is compiled for all. The state of a compiled loop has one type.
        self.scans = types == {repeat.compute_dtype} and engine.scans(inside)


class CopyScope(keras.StatelessScope):
    """A scope in which a block's variables have the values of the copy `number`; None: the values that were passed."""

    def __init__(self, places, stacks):
        super().__init__(collect_losses=True, initialize_variables=False)
        self.places = places  # of the values of a variable, by its id
        self.stacks, self.unstacked = list(stacks), {}
        self.number, self.assigned = None, set()

    def get_current_value(self, variable):
        place = self.places.get(id(variable))
        if place is not None:
            return self.stacks[place] if self.number is None else self._values(place)[self.number]
        return None if self.original_scope is None else self.original_scope.get_current_value(variable)

    def add_update(self, update):
        variable, value = update
        place = self.places[id(variable)]
        if self.number is None:
            self.stacks[place] = value
        else:
            self._values(place)[self.number] = value
        self.assigned.add(place)

    def stacked(self):
        """Return the values that were assigned, those of all copies in one tensor, by their places."""
        return {place: engine.stack(self.unstacked[place]) for place in self.assigned}

    def unstack(self):
        """Unstack all values now: those first read in a traced loop, such as a solver's, have no meaning after it."""
        for place in range(len(self.stacks)):
            self._values(place)

    def _values(self, place):
        if place not in self.unstacked:  # most weights are read for all copies at once, and never here
            self.unstacked[place] = list(engine.unstack(self.stacks[place]))
        return self.unstacked[place]


def _fresh(config, number=0):
    """Return the config of a layer that is not built, with its seeds `number` higher."""
    if isinstance(config, list | tuple):
        return [_fresh(item, number) for item in config]
    if not isinstance(config, dict):
        return config
    left = {key: _fresh(value, number) for key, value in config.items() if key != "build_config"}
    if isinstance(left.get("seed"), int):
        left["seed"] += number
    return left


def _tensors(nest):
    """Return the tensors of a nest."""
    return [leaf for leaf in tree.flatten(nest) if hasattr(leaf, "shape")]


def _filled(nest, tensors):
    """Return a nest with the next of `tensors`, an iterator, in place of each of its own."""
    return tree.map_structure(lambda leaf: next(tensors) if hasattr(leaf, "shape") else leaf, nest)


def split_copies(derived, n):
    """Split a dict or a list of tensors with n rows each, or of such nests, into a list with the rows of each copy.

    Other values are those of each copy. Raises ValueError for a tensor of another number of rows.
    """
    kind = dict if isinstance(derived, dict) else list
    copies = list(map(kind, [derived] * n))
    for place, value in derived.items() if kind is dict else enumerate(derived):
        if hasattr(value, "shape"):
            rows = engine.unstack(value) if value.shape else ()
            if len(rows) != n:
                raise ValueError(
                    f"split_copies: got a tensor of shape {tuple(value.shape)}, expected {n} rows."
                )
        elif isinstance(value, dict | list | tuple):
            rows = split_copies(value, n)
        else:
            continue
        for own, row in zip(copies, rows, strict=True):
            own[place] = row
    return copies
