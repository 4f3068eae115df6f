"""What depends on weights alone, computed at once for all parts of a chain that are alike."""

import keras

from flowkit import backends
from flowkit.bijectors.folding import derived_of, fold
from flowkit.bijectors.repeats import key
from flowkit.contract.frozen import freezes
from flowkit.contract.shapes import as_tuple


def run_units(units, known, x, context, inverse):
    """The parts of `units`, from `fold`, one after another; `known[i]` is what those of the i-th are handed, or None.

    Log-dets are added up at the end.
    """
    log_dets = []
    order = list(zip(units, known, strict=True))
    for unit, derived in reversed(order) if inverse else order:
        if derived is None:
            derived = derived_of(unit, x.shape, inverse) if len(unit) > 1 else [None]
        steps = list(zip(unit, derived, strict=True))
        for part, own in reversed(steps) if inverse else steps:
            x, log_det = backends.run_part(part, x, context, inverse=inverse, derived=own)
            log_dets.append(log_det)
    return x, backends.add_up(log_dets)


class Derivations:
    """Those of a chain: one for each row of parts that it runs."""

    def __init__(self):
        self._known = {}

    def run(self, parts, x, context, inverse):
        """`parts` one after another: (y, log_det)."""
        if freezes() or not backends.derives_together():
            units = fold(parts)
            return run_units(units, [None] * len(units), x, context, inverse)
        name = tuple(map(id, parts))
        if name not in self._known:
            self._known[name] = Derivation(parts)
        derivation = self._known[name]
        known = derivation.derived((None, *as_tuple(x.shape)[1:]), inverse)
        return run_units(derivation.units, known, x, context, inverse)


class Derivation:
    """What some parts derive from their weights, those alike together."""

    def __init__(self, parts):
        self.units = fold(parts)
        self._groups = {}  # of each shape and direction
        self._columns = {}  # of their weights, which both directions read

    def derived(self, x_shape, inverse):
        """For each unit what its parts are handed; None for nothing."""
        kept = backends.kept_for_this_call()
        name = self, x_shape, inverse
        if name not in kept:
            if name[1:] not in self._groups:
                self._groups[name[1:]] = self._grouped(x_shape, inverse)
            derived = [None] * len(self.units)
            for group in self._groups[name[1:]]:
                for place, own in zip(group.places, group.derive(), strict=True):
                    derived[place] = own
            kept[name] = derived
        return kept[name]

    def _grouped(self, x_shape, inverse):
        """The units that derive something, those alike together."""
        places = list(enumerate(self.units))
        found = {}
        for place, unit in reversed(places) if inverse else places:
            name = tuple(key(part) for part in unit), x_shape
            if all(
                isinstance(own, tuple) and hasattr(part, "_derive")
                for own, part in zip(name[0], unit, strict=True)
            ):
                found.setdefault(name, []).append(place)
            for part in reversed(unit) if inverse else unit:
                x_shape = (part.compute_inverse_shape if inverse else part.compute_output_shape)(x_shape)
        groups = [
            _Group(sorted(some), self.units, shape, inverse, self._columns)
            for (_, shape), some in found.items()
        ]
        return [group for group in groups if group.has_tensors]


class _Group:
    """Units that are alike but for their weights, for inputs of one shape in one direction.

    The first derives once to show which variables are read, and where in its answer tensors are.
    """

    def __init__(self, places, units, x_shape, inverse, columns):
        self.places = places
        first = units[places[0]]

        def derive():
            return derived_of(first, x_shape, inverse)

        with _Reading() as reading:
            answer = derive()
        variables = [[variable for part in units[place] for variable in part.variables] for place in places]
        read = [i for i, variable in enumerate(variables[0]) if id(variable) in reading.read]
        self._run = backends.derive_alike(
            lambda: _tensors(derive()), [[some[i] for i in read] for some in variables], columns
        )
        self.has_tensors = bool(_tensors(answer))
        # Not the answer: its tensors must not outlive a change of the weights.
        self._fill = _form(answer)

    def derive(self):
        """What the parts of each unit are handed."""
        return [self._fill(iter(tensors)) for tensors in self._run()]


def _tensors(nest):
    """Those in a nest of dicts and lists."""
    if isinstance(nest, dict):
        nest = list(nest.values())
    if isinstance(nest, list | tuple):
        return [tensor for part in nest for tensor in _tensors(part)]
    return [nest] if keras.ops.is_tensor(nest) else []


def _form(nest):
    """A function of an iterator of tensors that gives `nest` with these in the places of its own."""
    if isinstance(nest, dict):
        named = [(name, _form(value)) for name, value in nest.items()]
        return lambda tensors: {name: form(tensors) for name, form in named}
    if isinstance(nest, list | tuple):
        forms = [_form(value) for value in nest]
        return lambda tensors: [form(tensors) for form in forms]
    return next if keras.ops.is_tensor(nest) else lambda tensors: nest


class _Reading(keras.StatelessScope):
    """Remembers which variables are read inside."""

    def __init__(self):
        super().__init__()
        self.read = set()

    def get_current_value(self, variable):
        self.read.add(id(variable))
        return super().get_current_value(variable)
