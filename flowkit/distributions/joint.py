"""Densities of groups of columns that are independent of each other."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras

from flowkit.contract import Context, Domain, Shape, Tensor
from flowkit.contract.arguments import WholeLists, listed
from flowkit.contract.columns import join, pick
from flowkit.contract.errors import shape_error
from flowkit.contract.inside import build_for
from flowkit.contract.spec import BijectorSpec, weakest
from flowkit.distributions.distribution import Distribution


class Joint(Distribution):
    """log p(z) = sum_i log p_i(z_i): `parts[i]` is the density of the columns at `places[i]`.

    A normal density of real columns beside a uniform one of angles, for example. `temperature` is passed to each part,
    so that one without a scale refuses it. Raises TypeError for a part that is no `Distribution`, ValueError for places
    that are not each column once, ContractError for vectors of another length.

    >>> from keras import ops
    >>> from flowkit.distributions import Normal, Uniform
    >>> joint = Joint([Normal(), Uniform(0.0, 2.0)], [[0, 2], [1]])
    >>> round(float(joint.log_prob(ops.convert_to_tensor([[0.0, 1.0, 0.0]]))[0]), 4)  # -ln(2 pi) - ln 2
    -2.531
    """

    def __init__(
        self,
        parts: Annotated[Sequence[Any], listed(Distribution, "distributions")],
        places: WholeLists,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.parts, self.places = parts, places
        flat = sorted(place for some in self.places for place in some)
        if len(self.parts) != len(self.places) or not all(self.places) or flat != list(range(len(flat))):
            raise ValueError(
                f"Joint's places: got {places!r} for {len(self.parts)} parts, expected the places of the columns of "
                "each part, each column once."
            )
        self.context = weakest([BijectorSpec(context=part.context) for part in self.parts], "context")
        self.reparameterized = all(part.reparameterized for part in self.parts)
        sets = {
            place: part.domain for part, some in zip(self.parts, self.places, strict=True) for place in some
        }
        self.domain = Domain.each(*(sets[place] for place in range(len(flat))))

    @property
    def num_classes(self) -> int | None:
        return next((part.num_classes for part in self.parts if part.num_classes is not None), None)

    def build(self, z_shape: Shape, context_shape: Shape | None = None) -> None:
        columns = sum(map(len, self.places))
        if len(z_shape) != 2 or z_shape[-1] != columns:
            raise shape_error(self, f"vectors of {columns} columns", z_shape)
        for part, some in zip(self.parts, self.places, strict=True):
            build_for(part, (*z_shape[:-1], len(some)), context_shape)

    def log_prob(self, z: Tensor, context: Context = None) -> Tensor:
        """Return log p(z | context) in nats, (batch,), for z of shape (batch, columns)."""
        total = 0.0
        for part, some in zip(self.parts, self.places, strict=True):
            total = total + part.log_prob(pick(z, some), self._heard(part, context))
        return total

    def _draw(self, shape, temperature, seed, context):
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed  # parts must differ
        drawn = [
            part.sample(
                (*shape[:-1], len(some)),
                temperature=temperature,
                seed=seed,
                context=self._heard(part, context),
            )
            for part, some in zip(self.parts, self.places, strict=True)
        ]
        return join(drawn, self.places)

    def adapt(self, z: Tensor, context: Context = None) -> "Joint":
        """Adapt each part that depends on data to its columns. Returns `self`."""
        for part, some in zip(self.parts, self.places, strict=True):
            if hasattr(part, "adapt"):
                part.adapt(pick(z, some), self._heard(part, context))
        return self

    def _heard(self, part, context):
        return None if part.context == "none" else context
