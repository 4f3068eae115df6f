"""A bijector read backwards."""

from typing import Any

import numpy as np
from keras import ops

from flowkit.contract import Bijector, Context, Shape, Tensor
from flowkit.contract.call import Call
from flowkit.contract.flow_layer import Part
from flowkit.contract.noise import given
from flowkit.contract.shapes import as_tuple


class Inverse(Bijector):
    """z = f^-1(x) for the bijector f: forward and inverse change places, and so do domain and codomain.

    `adapt` adapts f to standard normal numbers, mapped to its domain. Put an `ActNorm` that is to normalise the data
    beside the Inverse, not into it.

    >>> from keras import ops
    >>> from flowkit.bijectors import Exp
    >>> Inverse(Exp()).spec.domain
    Domain.POSITIVE
    """

    runs_hooks = False

    def __init__(self, bijector: Part, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bijector = bijector
        self.spec = bijector.spec.inverted()

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.bijector.build_for(self.bijector.compute_inverse_shape(x_shape), context_shape)
        self.spec = self.bijector.spec.inverted()  # some know theirs once they are built

    def _check_shape(self, x_shape):
        self.bijector._check_shape(self.bijector.compute_inverse_shape(x_shape))

    def check_shape(self, shape: Shape, inverse: bool = False) -> None:
        self.bijector.check_shape(shape, not inverse)

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        return self.bijector.derive(x_shape, not inverse)

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        return self.bijector.run(x, call.turned(), noise, derived)

    def noise_needs(self, x_shape: Shape, *, inverse: bool) -> Tensor:
        return self.bijector.noise_needs(self.bijector.compute_inverse_shape(x_shape), inverse=not inverse)

    def is_lossy(self, *, inverse: bool) -> bool:
        return self.bijector.is_lossy(inverse=not inverse)

    def rebuild(self, y: Tensor, call: Call, nudge: Any) -> tuple[Any, Any, Any]:
        return self.bijector.rebuild(y, call.turned(), nudge)

    @property
    def refreshes(self) -> bool:
        return self.bijector.refreshes

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        if self.bijector.spec.draws(inverse=False):
            raise NotImplementedError(
                f"Inverse({type(self.bijector).__name__}) cannot refresh: f's own inputs are this layer's outputs, and "
                "f would need noise for them that nothing has drawn. Put the layer that refreshes outside."
            )
        # f's own inputs are this layer's outputs.
        x, _ = self.run(x, Call(context), noise)
        self.bijector.run_refresh(x, context)

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> Any:
        """Adapt f to standard normal numbers, as many as x: its own inputs are not known before it is adapted."""
        rng = np.random.default_rng(
            0
        )  # a generator of Keras's would change its state, which a Repeat may not see
        shape = as_tuple(self.compute_output_shape(as_tuple(x.shape)))
        y = self.bijector.spec.domain.from_real(self._tensor(rng.normal(size=shape)))
        draw = {"normal": rng.normal, "uniform": rng.uniform}
        needs = self.bijector.noise_needs(shape, inverse=False)
        drawn = [draw[kind](size=(shape[0], size)) for kind, size in needs]
        noise = self._tensor(np.concatenate(drawn, axis=1)) if drawn else None
        self.bijector.run_adapt_alone(y, context, again, **given(noise))

    def _tensor(self, array):
        return ops.convert_to_tensor(array, dtype=self.compute_dtype)

    @property
    def composite(self) -> bool:
        return self.bijector.composite

    @property
    def num_classes(self) -> int | None:
        return self.bijector.num_classes

    def latent_rank(self, rank: int | None) -> int | None:
        # A reshape does not say what it was before.
        return rank if self.bijector.latent_rank(rank) == rank else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.bijector.compute_inverse_shape(input_shape)

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        return self.bijector.compute_output_shape(latent_shape)
