"""What base densities share that may be given a network of the context."""

from typing import Any

from flowkit.contract import ContractError
from flowkit.contract.conditioner import adapt_conditioner, ask, build_conditioner, refuse_second_input
from flowkit.distributions.distribution import Distribution
from flowkit.transforms import Gaussian


class Conditioned(Distribution):
    """A density whose `conditioner`, a network of the context or None, answers with one vector for each sample.

    `min_scale` = m > 0 keeps scales within (m, 1/m). Raises ContractError for a network that expects a context beside
    its input.
    """

    def __init__(self, conditioner: Any, min_scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_second_input(self, conditioner)
        self.conditioner, self.min_scale = conditioner, min_scale
        self._transform = Gaussian(min_scale=min_scale)
        if conditioner is not None:  # otherwise that of the class, which an author may have changed
            self.context = "required"

    @property
    def num_classes(self) -> int | None:
        return getattr(self.conditioner, "num_classes", None)

    def _build_network(self, features: int, context_shape: Any) -> None:
        """Build the network for answers of so many `features`.

        Raises ContractError for no context, for labels if the network has no classes (it would take all labels of a
        batch for one vector), and for an answer of another rank.
        """
        labels = isinstance(context_shape, tuple) and len(context_shape) == 1
        if context_shape is None or (labels and self.num_classes is None):
            raise ContractError(
                "context",
                self,
                expected="a context to ask its conditioner with, such as vectors (batch, k)",
                received="none" if context_shape is None else f"shape {context_shape}",
                hint="keras.ops.one_hot makes vectors of labels." if labels else None,
            )
        build_conditioner(self, self.conditioner, features, context_shape)
        answer = tuple(self.conditioner.compute_output_shape(context_shape))
        if len(answer) != 2:
            raise ContractError(
                "conditioner",
                self,
                expected=f"{type(self.conditioner).__name__} to answer with one vector for each sample",
                received=f"shape {answer}, of a context of shape {context_shape}",
                hint="Give the flow an embedding= that makes one vector of each context.",
            )

    def _answer(self, context: Any) -> Any:
        return ask(self.conditioner, context, None, self.compute_dtype)

    def adapt(self, z: Any, context: Any = None) -> Any:
        """Adapt the network to a batch of contexts, if something in it depends on data. Returns `self`."""
        adapt_conditioner(self.conditioner, context, None)
        return self
