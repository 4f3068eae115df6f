"""Places of an event as they were when the layer was built."""

from keras import ops

from flowkit.contract import Bijector, BijectorSpec
from tests.testing.wrong_bijectors.registry import breaks


@breaks("other places", (2, 3, 2), says="the same log_det of forward for events of shape (3, 4, 2)")
class PlacesOfTheBuild(Bijector):
    """One scale for each channel; the log-det counts height * width of the images that the layer was built for."""

    spec = BijectorSpec(event_rank=3, log_det="constant")

    def build(self, x_shape):
        self.places = x_shape[1] * x_shape[2]
        self.logs = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="logs")

    def _forward(self, x):
        return x * ops.exp(self.logs), self.places * ops.sum(self.logs.value)

    def _inverse(self, z):
        return z * ops.exp(-self.logs), -self.places * ops.sum(self.logs.value)


@breaks("other places", (2, 2), says="the same output of inverse for events of shape (3, 2)")
class FlipsTheFirstPlaces(Bijector):
    """The inverse turns round as many places as the build saw, and leaves those after them."""

    spec = BijectorSpec(event_rank=2, log_det="zero", rearranges=True)

    def build(self, x_shape):
        self.places = x_shape[1]

    def _forward(self, x):
        return ops.flip(x, axis=1), 0.0

    def _inverse(self, z):
        return ops.concatenate([ops.flip(z[:, : self.places], axis=1), z[:, self.places :]], axis=1), 0.0
