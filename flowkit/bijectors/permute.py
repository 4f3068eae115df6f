"""Fixed permutations of the channels."""

from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.fixed import fixed_weight, rng
from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.contract.arguments import Seed, Wholes, words


@keras.saving.register_keras_serializable("flowkit")
class Permute(Bijector):
    """z[..., i] = x[..., order[i]]: "reverse", "shuffle" (drawn once from `seed`) or a list of indices.

    Raises ValueError for another word, ContractError if a list is no permutation of the channels.

    >>> z, log_det = Permute([2, 0, 1])(ops.convert_to_tensor([[10.0, 20.0, 30.0]]))
    >>> ops.convert_to_numpy(z).tolist()
    [[30.0, 10.0, 20.0]]
    """

    pure = True
    spec = BijectorSpec(log_det="zero", rearranges=True)

    def __init__(
        self,
        order: Annotated[str, words("reverse", "shuffle")] | Wholes = "reverse",
        *,
        seed: Seed | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.order, self.seed = order, seed

    def build(self, x_shape: Any) -> None:
        indices = self._indices(x_shape[-1])
        # A weight, since a shuffle must survive saving; both ways, since argsort at each call is waste.
        self.indices = fixed_weight(self, "indices", indices, "int32")
        self.back = fixed_weight(self, "indices_inverse", np.argsort(indices), "int32")

    def _indices(self, channels):
        if self.order == "reverse":
            return np.arange(channels)[::-1]
        if self.order == "shuffle":
            return rng(self.seed).permutation(channels)
        if sorted(self.order) != list(range(channels)):
            raise ContractError(
                "event shape",
                self,
                expected=f"a permutation of 0..{channels - 1} for {channels} channels",
                received=str(self.order),
            )
        return np.asarray(self.order)

    def _forward(self, x):
        return ops.take(x, self.indices, axis=-1), 0.0

    def _inverse(self, z):
        return ops.take(z, self.back, axis=-1), 0.0
