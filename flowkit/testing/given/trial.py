"""One example tried on one subject: what the clauses look at, computed once."""

import functools

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.testing.given import contexts
from flowkit.testing.given.contexts import tiled
from flowkit.testing.given.example import ROWS
from flowkit.testing.given.functions import tensors
from flowkit.testing.given.points import inside, points_of, room
from flowkit.testing.given.tolerances import PAIRS, large, measure, smallest

WEIGHT_STEP = 2.0**-20


class Trial:
    """The points of an example, and both directions there in float64, with measured errors.

    Arrays are numpy's; the first axis is the sample. `draw` is the number of the random draw that errors are
    measured by: another one is a second look.
    """

    def __init__(self, subject, example, thorough=False, draw=0):
        self.thorough, self.draw = thorough, draw
        self.subject, self.example, self.event = subject, example, tuple(example.event)
        self.spec = subject.spec
        self.seed = example.seed
        silent = self.spec.context == "optional" and example.seed % 2 == 0
        self.context = None if silent else subject.context(self.event, self.seed, ROWS)

    # Points

    @functools.cached_property
    def x(self):
        """Points of the domain, (ROWS, *event)."""
        return points_of(self.spec.domain, self.example.real(self.event))

    @functools.cached_property
    def latent_event(self):
        """The shape of a latent event."""
        layer = self.layer32
        return tuple(layer.compute_output_shape((None, *self.event)))[1:]

    @functools.cached_property
    def z(self):
        """Points of the codomain, (ROWS, *latent event)."""
        return points_of(self.spec.codomain, self.example.real(self.latent_event))

    def rays(self, event):
        """Directions (1, *event) along which points go far out: all up, all down, mixed."""
        mixed = np.random.default_rng([self.seed, 7]).normal(size=(1, *event))
        return [np.ones((1, *event)), -np.ones((1, *event)), mixed]

    @property
    def directions(self):
        """(inverse, points) for each direction that the layer has."""
        yield False, self.x
        if self.subject.no_inverse is None:
            yield True, self.z

    # The float32 copy, as users call it

    @property
    def layer32(self):
        return self.subject.weighted(self.example)

    def call32(self, x, context=None, inverse=False, layer=None):
        """One direction of the float32 copy, eager, on fresh tensors: numpy arrays (value, log_det)."""
        layer = layer or self.layer32
        x = ops.convert_to_tensor(np.array(x, dtype="float32"))
        context = contexts.tensor(context)
        value, log_det = layer.inverse(x, context=context) if inverse else layer(x, context=context)
        return ops.convert_to_numpy(value), ops.convert_to_numpy(log_det)

    # The float64 copy

    @property
    def layer64(self):
        return self.subject.weighted(self.example, "float64")

    def run64(self, x, inverse=False, context="own"):
        """One direction of the float64 copy on numpy arrays of any multiple of ROWS rows."""
        context = self.context if isinstance(context, str) else context
        self.layer64  # noqa: B018  (sets the weights)
        function = self.subject.function(self.event, inverse, context is not None)
        with backends.float64():
            return numbers(function(*tensors(x, tiled(context, len(x)))))

    def _with_moved_weights(self, inverse, draw):
        def run(x):
            layer = self.layer64
            rng = np.random.default_rng([draw, 4])
            with backends.float64():
                for variable in layer.weights:
                    value = variable.numpy()
                    if value.dtype.kind == "f":
                        sign = rng.choice([-1.0, 1.0], size=value.shape)
                        variable.assign(value * (1 + WEIGHT_STEP * sign))
            try:
                function = self.subject.function(self.event, inverse, self.context is not None)
                with backends.float64():
                    return numbers(function(*tensors(x, tiled(self.context, len(x)))))
            finally:
                self.subject.forget(self.event, "float64")

        return run

    def unit_of(self, inverse):
        """The rounding unit of what the float64 copy really computes in, in that direction."""
        points = self.z if inverse else self.x
        with backends.float64():
            return self.subject.eps(self.event, inverse, points, self.context)

    def measured(self, x, inverse, input_error=None):
        """One direction at `x`, with what rounding may have done to it."""
        layer, eps = self.layer64, self.unit_of(inverse)
        moves = []
        if any("float" in str(v.dtype) for v in layer.weights):
            moves = [(self._with_moved_weights(inverse, draw), WEIGHT_STEP) for draw in (0, 1)]
        domain = self.spec.codomain if inverse else self.spec.domain
        return measure(
            lambda rows: self.run64(rows, inverse),
            x,
            eps=eps,
            domain=domain,
            input_error=input_error,
            weight_moves=moves,
            seed=self.draw,
        )

    @functools.cached_property
    def there(self):
        """Forward at `x`."""
        return self.measured(self.x, inverse=False)

    @functools.cached_property
    def there_and_back(self):
        """Inverse at forward(x), told how far off forward(x) may be."""
        return self.measured(self.there.value, inverse=True, input_error=self.there.value_error)

    @functools.cached_property
    def back(self):
        """Inverse at `z`."""
        return self.measured(self.z, inverse=True)

    @functools.cached_property
    def back_and_there(self):
        """Forward at inverse(z), told how far off inverse(z) may be."""
        return self.measured(self.back.value, inverse=False, input_error=self.back_error)

    def measured_in(self, inverse):
        """Inverse at `z`, or forward at `x`."""
        return self.back if inverse else self.there

    @property
    def eps(self):
        """The largest rounding unit of the directions."""
        return max(self.unit_of(inverse) for inverse, _ in self.directions)

    @property
    def back_error(self):
        """The error of inverse(z): rounding, and what the spec of an iterative inverse allows itself."""
        return self.back.value_error + self.declared(self.back.value)

    def declared(self, x):
        """The round-trip error that the spec declares, in units of a float32's epsilon and of max(1, |x|).

        A solver stops at a tolerance that does not become finer with the precision it runs in, so the unit
        is that of the precision layers have by default.
        """
        unit = 2.0**-23 if self.spec.solved else max(self.eps, 2.0**-52)
        return self.spec.allowed_round_trip * unit * np.maximum(1, np.abs(x))

    @functools.cached_property
    def jacobians(self):
        """(J, its rounding noise) of forward at `x`: (ROWS, outputs, inputs) each, by automatic differentiation."""
        x, rng = self.x, np.random.default_rng([self.seed, 5, self.draw])
        eps = self.unit_of(False)
        tick = np.minimum(np.sqrt(eps) * np.abs(x), room(self.spec.domain, x) / 2)
        pieces = [x]
        for _ in range(PAIRS):
            # No round steps: a power of two times x lands on numbers whose rounding repeats itself.
            move = tick * rng.choice([-1.0, 1.0], size=x.shape) * rng.uniform(0.5, 1, size=x.shape)
            pieces += [x + move, x - move]
        # At an exact zero there may be a kink, where a slope is a matter of taste: it shows in one that
        # differs on both sides. (One that is wrong at the zero alone agrees on both.)
        aside = np.where(x == 0, np.sqrt(eps) / 1024, 0.0)
        pieces += [x + aside, x - aside] if self.spec.domain.kind == "interval" else [x, x]
        stacked = np.concatenate(pieces)
        function = self.subject.jacobian(self.event, self.context is not None)
        self.layer64  # noqa: B018  (sets the weights)
        with backends.float64():
            jac = np.asarray(
                ops.convert_to_numpy(function(*tensors(stacked, tiled(self.context, len(stacked)))))
            )
        base, *others, right, left = [jac[i : i + ROWS].astype("float64") for i in range(0, len(jac), ROWS)]
        with np.errstate(all="ignore"):
            # Its own rounding, and how far it moves when x is off by a rounding of its own.
            pairs = list(zip(others[::2], others[1::2], strict=True))
            noise = [np.abs(a - 2 * base + b) + np.abs(a - b) * np.sqrt(eps) for a, b in pairs]
            # A slope that is a small difference of terms of the output's size has their rounding: an engine's
            # rule for expm1 is expm1(x) + 1, whose steps are so wide where it is flat that no step shows them.
            outputs = np.abs(self.there.value).reshape(ROWS, -1, 1)
            inputs = np.maximum(1, np.abs(x)).reshape(ROWS, 1, -1)
            floor = eps * np.nan_to_num(outputs, posinf=0.0) / inputs
            kink = np.abs(right - left)
        return base, np.max(noise, axis=0) + floor + kink + smallest(eps)

    # Which points can be judged at all

    def resolved(self, z, error, domain):
        """For each sample: whether all of `z` is not too large, and farther from the domain's edge than its error."""
        with np.errstate(invalid="ignore"):
            good = (
                (np.abs(z) < large(self.eps))  # NaN is not
                & np.isfinite(error)
                & inside(domain, z, -error if domain.kind == "interval" else error)
            )
        return good.reshape(len(z), -1).all(axis=1)


def numbers(pair):
    """A pair of tensors as float64 numpy arrays."""
    return tuple(np.asarray(ops.convert_to_numpy(part)).astype("float64") for part in pair)
