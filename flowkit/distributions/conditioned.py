"""What base densities ask of the network that reads their context."""

from typing import Any

from flowkit.contract import ContractError
from flowkit.contract.conditioner import build_conditioner


def build_network(owner: Any, conditioner: Any, features: int, context_shape: Any) -> None:
    """As `build_conditioner`, for a network that is given the context and answers with one vector for each sample.

    Raises ContractError for no context, for labels if it knows no classes (it would take all labels of a batch for one
    vector), and for an answer of another rank.
    """
    labels = isinstance(context_shape, tuple) and len(context_shape) == 1
    if context_shape is None or (labels and getattr(conditioner, "num_classes", None) is None):
        raise ContractError(
            "context",
            owner,
            expected="a context to ask its conditioner with, such as vectors (batch, k)",
            received="none" if context_shape is None else f"shape {context_shape}",
            hint="keras.ops.one_hot makes vectors of labels." if labels else None,
        )
    build_conditioner(owner, conditioner, features, context_shape)
    answer = tuple(conditioner.compute_output_shape(context_shape))
    if len(answer) != 2:
        raise ContractError(
            "conditioner",
            owner,
            expected=f"{type(conditioner).__name__} to answer with one vector for each sample",
            received=f"shape {answer}, of a context of shape {context_shape}",
            hint="Give the flow an embedding= that makes one vector of each context.",
        )
