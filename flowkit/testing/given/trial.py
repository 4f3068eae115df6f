"""One example tried on one subject: what the clauses look at, computed once."""

import functools

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.testing.given.contexts import tiled
from flowkit.testing.given.declared import answer_error
from flowkit.testing.given.example import ROWS
from flowkit.testing.given.functions import tensors
from flowkit.testing.given.jacobian import jacobian
from flowkit.testing.given.leading import leading
from flowkit.testing.given.noise import noise_for
from flowkit.testing.given.points import inside, points_of
from flowkit.testing.given.tolerances import large, measure

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
        self._noise = {}

    def again(self, **given):
        """This trial with another `context`, or at other points `x` or `z`, which come in place of the example's."""
        other = Trial(self.subject, self.example, self.thorough, self.draw)
        vars(other).update({"context": self.context, **given})
        return other

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
        return [(inverse, self.points(inverse)) for inverse in (False, True) if self.subject.has(inverse)]

    def points(self, inverse):
        """The points that a direction is asked about: `z` for the inverse, otherwise `x`."""
        return self.z if inverse else self.x

    def domain(self, inverse):
        """The set that those points are of."""
        return self.spec.codomain if inverse else self.spec.domain

    def noise(self, inverse):
        """What a direction is given to draw from, (ROWS, k), or None. Each has its own."""
        if inverse not in self._noise:
            event = self.latent_event if inverse else self.event
            self._noise[inverse] = noise_for(self.layer32, (ROWS, *event), inverse, self.seed)
        return self._noise[inverse]

    def given_context(self, rows):
        """The context of ROWS samples repeated for a batch that is put together of pieces of ROWS rows."""
        return tiled(self.context, rows)

    def given_noise(self, inverse, rows):
        """The noise, likewise."""
        return tiled(self.noise(inverse), rows)

    # The float32 copy, as users call it

    @property
    def layer32(self):
        return self.subject.weighted(self.example)

    def call32(self, x, context=None, inverse=False, layer=None, noise=None):
        """One direction of the float32 copy, eager, on fresh tensors: numpy arrays (value, log_det).

        Without `noise` it is given that of the first samples, over and over, if it draws.
        """
        layer = layer or self.layer32
        named = self.subject.named(layer, np.shape(x), context, inverse, noise, seed=self.seed)
        return self.call(x, inverse, named, layer)

    def call(self, x, inverse, named, layer=None):
        """One direction of the float32 copy, given `named` as it is."""
        layer = layer or self.layer32
        call = layer.inverse if inverse else layer
        value, log_det = call(ops.convert_to_tensor(np.array(x, dtype="float32")), **named)
        return ops.convert_to_numpy(value), ops.convert_to_numpy(log_det)

    # The float64 copy

    @property
    def layer64(self):
        return self.subject.weighted(self.example, "float64")

    def run64(self, x, inverse=False, context="own", noise=None):
        """One direction of the float64 copy on numpy arrays of any multiple of ROWS rows."""
        context = self.context if isinstance(context, str) else context
        self.layer64  # noqa: B018  (sets the weights)
        return self._run64(x, inverse, context, noise)

    def _run64(self, x, inverse, context, noise):
        noise = self.given_noise(inverse, len(x)) if noise is None else noise
        function = self.subject.function(self.event, inverse, context is not None)
        with backends.float64():
            return numbers(function(*tensors(x, tiled(context, len(x)), noise)))

    def _with_moved_weights(self, inverse, draw):
        def run(x, noise):
            layer = self.layer64
            rng = np.random.default_rng([draw, 4])
            with backends.float64():
                for variable in layer.weights:
                    value = variable.numpy()
                    if value.dtype.kind == "f":
                        sign = rng.choice([-1.0, 1.0], size=value.shape)
                        variable.assign(value * (1 + WEIGHT_STEP * sign))
            try:
                return self._run64(x, inverse, self.context, noise)
            finally:
                self.subject.forget(self.event, "float64")

        return run

    def unit_of(self, inverse):
        """The rounding unit of what the float64 copy really computes in, in that direction."""
        with backends.float64():
            return self.subject.eps(
                self.event, inverse, self.points(inverse), self.context, self.noise(inverse)
            )

    def measured(self, x, inverse, input_error=None):
        """One direction at `x`, with what rounding may have done to it."""
        layer, eps = self.layer64, self.unit_of(inverse)
        moves = []
        if any("float" in str(v.dtype) for v in layer.weights):
            moves = [(self._with_moved_weights(inverse, draw), WEIGHT_STEP) for draw in (0, 1)]
        return measure(
            lambda rows, noise: self.run64(rows, inverse, noise=noise),
            x,
            self.noise(inverse),
            eps=eps,
            domain=self.domain(inverse),
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
        return self.measured(self.there.value, inverse=True, input_error=answer_error(self, inverse=False))

    @functools.cached_property
    def back(self):
        """Inverse at `z`."""
        return self.measured(self.z, inverse=True)

    @functools.cached_property
    def back_and_there(self):
        """Forward at inverse(z), told how far off inverse(z) may be."""
        return self.measured(self.back.value, inverse=False, input_error=answer_error(self, inverse=True))

    def measured_in(self, inverse):
        """Inverse at `z`, or forward at `x`."""
        return self.back if inverse else self.there

    def measured_after(self, inverse):
        """The other direction, after `measured_in(inverse)`."""
        return self.back_and_there if inverse else self.there_and_back

    @property
    def eps(self):
        """The largest rounding unit of the directions."""
        return max(self.unit_of(inverse) for inverse, _ in self.directions)

    @functools.cached_property
    def jacobians(self):
        """(J, its rounding noise) of the leading direction at its points."""
        return jacobian(self, *leading(self.subject))

    # Which points can be judged at all

    def resolved(self, z, error, domain):
        """For each sample: whether all of `z` is not too large, and farther from the domain's edge than its error."""
        edged = [column.kind == "interval" for column in domain.columns or [domain]]
        with np.errstate(invalid="ignore"):
            good = (
                (np.abs(z) < large(self.eps))  # NaN is not
                & np.isfinite(error)
                & inside(domain, z, np.where(edged, -error, error))
            )
        return good.reshape(len(z), -1).all(axis=1)


def numbers(pair):
    """A pair of tensors as float64 numpy arrays."""
    return tuple(np.asarray(ops.convert_to_numpy(part)).astype("float64") for part in pair)
