"""What a bijector promises: its base class, spec and domain, and the error that names a broken promise."""

from flowkit.contract.conditioner import Conditioner
from flowkit.contract.domain import Domain
from flowkit.contract.errors import ContractError
from flowkit.contract.flow_layer import Bijector, FlowLayer, Surjection
from flowkit.contract.shapes import AnySeed, Context, Shape, Tensor, sum_event
from flowkit.contract.spec import BijectorSpec

__all__ = [
    "AnySeed",
    "Bijector",
    "BijectorSpec",
    "Conditioner",
    "Context",
    "ContractError",
    "Domain",
    "FlowLayer",
    "Shape",
    "Surjection",
    "Tensor",
    "sum_event",
]
