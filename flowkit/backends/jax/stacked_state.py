"""Training steps that are handed stacks of weights, moments and averages, and hand them on, on JAX."""

import contextlib
import itertools
import operator
import warnings

import jax
import keras

from flowkit.backends.jax import parts, stacks
from flowkit.backends.jax.stacks import Layout, Stacked
from flowkit.backends.jax.twin import may_lie_together, moves_entries, twin


class Stacking:
    """`step(state, iterator)` of Keras's trainer, for which the values of alike parts lie in stacks between two steps.

    Keras gives lists of values when an epoch begins, and after each time that it has put them back into the model.
    """

    def __init__(self, step, model):
        self._step, self._model = step, model
        self._plan = self._made_for = None  # what lies together, and the variables that it is for
        self._given = None  # the state that the last step gave

    def __call__(self, state, iterator):
        known = self._given is not None and state[0] is self._given[0]
        if not known:
            self._let_go()
            iterator = self._enter(state, iterator)
        if known or self._plan is None:
            logs, state = self._step(state, iterator)
        else:
            for variable in itertools.chain(*self._made_for[1:]):
                variable._value = None  # of which `train_on_batch` does not empty the model
            with self._plan.packed(state) as stacked:
                logs, state = self._step(stacked, iterator)
        self._given = state
        return logs, state

    def look(self):
        """After the last step: wait for what is left to be told."""
        self._let_go()
        self._step.look()

    def forget(self):
        """After the last step: tell nothing of what is left."""
        self._let_go()
        self._step.forget()

    def _let_go(self):
        """Let go of the values that earlier steps gave, which are in the model, or in Keras's new lists.

        Keras keeps its last state until a step has given the next one: each value would be there beside its stack.
        """
        held = getattr(self._model, "_jax_state", None) or {}
        for values in (*(self._given or ()), *held.values()):
            if isinstance(values, Stacked):
                values.let_go()
        self._given = self._model._jax_state = None

    def _enter(self, state, iterator):
        """Find the plan for lists of values; the answer is the iterator, whose next batch it may have looked at."""
        model = self._model
        compiled = parts.scans() and model.jit_compile and not model.run_eagerly
        # A distribution knows where each weight is to lie.
        if not compiled or not model.takes_stacks or keras.distribution.distribution() is not None:
            self._plan = self._made_for = None
            return iterator
        kinds = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
        # They themselves, not their ids, which others have when they are gone.
        made_for = [[model.optimizer], *map(list, kinds)]
        if self._made_for is None or not all(map(_are, self._made_for, made_for)):
            self._plan = self._made_for = None
            batch = next(iterator, None)
            if batch is not None:  # else who steps will notice
                iterator = itertools.chain([batch], iterator)
                self._plan, self._made_for = planned(model, state, batch), made_for
        return iterator


class Plan:
    """What of a model's state lies on top of each other, and the optimizer that moves it so."""

    def __init__(self, model, groups, optimizer, of_slots):
        self._variables = [model.trainable_variables, model.non_trainable_variables]
        self.layouts = [Layout(of_kind, self) for of_kind in (*groups, of_slots)]
        self.optimizer = optimizer

    @contextlib.contextmanager
    def packed(self, state):
        """A scope for one step: Keras's state in stacks. Its lists have no values then, but again if an error comes."""
        *kinds, metrics = state
        packed = []
        try:
            for layout, values in zip(self.layouts, kinds, strict=True):
                packed.append(Stacked([], layout))
                layout.pack(values, packed[-1].entries)
            yield *packed, metrics
        except BaseException:
            for values, stacked in zip(kinds, packed, strict=False):  # of the others nothing was moved
                values[:] = [new if old is None else old for old, new in zip(values, stacked, strict=True)]
            raise

    def holding(self, stacked, values):
        """A scope in which loops over alike parts find the stacks whose values are in use."""
        found = []
        for variables, whole, each in zip(self._variables, stacked, values, strict=True):
            for group, stack in zip(whole.layout.groups, whole.entries, strict=True):
                if len(group) > 1:
                    found.append(
                        ([variables[place] for place in group], [each[place] for place in group], stack)
                    )
        return stacks.holding(found)

    def step(self, slots, grads, weights):
        """(weights, slots) after a step of the optimizer, all in stacks."""
        with stacks.holding([]):
            entries = self.optimizer.stateless_apply(slots.entries, grads.entries, weights.entries)
        return tuple(Stacked(new, old.layout) for new, old in zip(entries, (weights, slots), strict=True))


def planned(model, state, batch):
    """The `Plan` for a model whose step is about to be compiled; None if there is nothing to stack."""
    if not moves_entries(model.optimizer) or _ids(model.optimizer) != [
        id(v) for v in model.trainable_variables
    ]:
        return None
    kinds = model.trainable_variables, model.non_trainable_variables
    weights, others = _groups(kinds, _asked(model, state, batch))
    weights = [
        part
        for group in weights
        for part in (
            [group]
            if len(group) == 1 or may_lie_together(model.optimizer, [kinds[0][place] for place in group])
            else [(place,) for place in group]
        )
    ]
    if all(len(group) == 1 for group in weights):
        return None
    optimizer, slots = twin(model.optimizer, weights)
    return None if optimizer is None else Plan(model, (weights, others), optimizer, slots)


def _asked(model, state, batch):
    """The lists of variables whose values the model wants on top of each other in a step."""
    asked = []

    def loss(weights, others, slots, metrics, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        return model.compute_loss_and_updates(
            weights, others, metrics, x, y, sample_weight, training=True, optimizer_variables=slots
        )[0]

    try:
        with stacks.noting(asked):
            jax.eval_shape(loss, *state, batch)
    except Exception as error:
        jax.eval_shape(model.train_step, state, batch)  # most likely raises the same
        warnings.warn(
            f"{model.name!r}: weights of alike steps are not kept in stacks, since it failed to ask the flow for them: "
            f"{type(error).__name__}: {error}. It trains all the same, with a longer program.",
            stacklevel=2,
        )
        return []
    return asked


def _groups(kinds, asked):
    """For each kind of variables the places that lie on top of each other, or are alone, in order."""
    groups = []
    for variables in kinds:
        places, taken = {id(variable): place for place, variable in enumerate(variables)}, {}
        for wanted in asked:
            group = tuple(places.get(id(variable), -1) for variable in wanted)
            if len(set(group)) == len(group) > 1 and -1 not in group and not taken.keys() & set(group):
                taken |= dict.fromkeys(group, group)
        found = (taken.get(place, (place,)) for place in range(len(variables)))
        groups.append(list(dict.fromkeys(found)))
    return groups


def _are(those, these):
    return len(those) == len(these) and all(map(operator.is_, those, these))


def _ids(optimizer):
    return [id(weight) for weight in optimizer._trainable_variables]
