"""What a chain asks of its parts if the backward pass runs them once more, and how exact that must be."""

import keras

from flowkit.contract import ContractError
from flowkit.contract.errors import label
from flowkit.contract.precision import rounding_unit


def refuse_backprop(chain):
    """Raise ContractError for a chain whose parts do not go with its `backprop`: it is known before they are built."""
    if chain.backprop == "reversible" and chain.spec.inverse != "analytic":
        raise ContractError(
            "backprop",
            chain,
            expected="inverses in closed form, for backprop='reversible'",
            received=f"a part whose inverse is {chain.spec.inverse}",
            hint="Use backprop='recompute'.",
        )
    if chain.backprop != "stored" and chain.spec.noise != "none":
        raise ContractError(
            "backprop",
            chain,
            expected=f"parts without noise, for backprop={chain.backprop!r}",
            received=f"a part with noise={chain.spec.noise!r}",
            hint="Put it beside this chain, in one with backprop='stored'.",
        )


def refuse_unrepeatable(chain):
    """Raise ContractError for a built part that does not give the same output, or changes weights, if run again."""
    moving = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization)
    for layer in chain._flatten_layers():
        reasons = {
            "draws random numbers": any(v.name == "seed_generator_state" for v in layer.variables),
            "adds to the loss": getattr(layer, "activity_regularizer", None) is not None,
            "moves its statistics in training": isinstance(layer, moving),
        }
        if any(reasons.values()):
            raise ContractError(
                "backprop",
                chain,
                expected=f"parts that give the same each time they run, for backprop={chain.backprop!r}",
                received=f"{label(layer)}, which {next(reason for reason, holds in reasons.items() if holds)}",
                hint="Leave it out, or use backprop='stored'.",
            )


def drift_tolerance(chain):
    """The relative error of a rebuilt input that passes: that of gradients was seen to be as large.

    Nine bits of rounding, which is 6e-5 in float32; and no less than the rounding of the networks.
    """
    dtypes = {layer.compute_dtype for layer in chain._flatten_layers()}
    networks = [rounding_unit(dtype) for dtype in dtypes if "float" in dtype]
    return max(2**9 * rounding_unit(chain.compute_dtype), *networks)


def smallest(parts):
    """The parts, and in place of a composite its parts: the smaller a part, the less is held at a time."""
    flat = []
    for part in parts:
        flat += smallest(part.parts) if part.composite else [part]
    return flat
