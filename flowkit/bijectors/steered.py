"""What the layers have in common in which a conditioner steers a transform."""

from typing import Any

from flowkit.contract import BijectorSpec, ContractError
from flowkit.contract.conditioner import context_of
from flowkit.transforms import Additive, Affine, Transform

WORDS = {"affine": Affine, "additive": Additive}


def transform_of(transform: str | Transform) -> Transform:
    """The transform, or the one that a word stands for. Raises ValueError for other words, TypeError for others."""
    if isinstance(transform, str):
        if transform not in WORDS:
            raise ValueError(
                f"transform expects one of {', '.join(map(repr, WORDS))}, or a Transform such as RationalQuadratic(), "
                f"received {transform!r}."
            )
        return WORDS[transform]()
    if not isinstance(transform, Transform):
        raise TypeError(f"transform expects a flowkit.transforms.Transform, received {transform!r}.")
    return transform


def steering_spec(owner: Any, transform: Transform, conditioner: Any, **changed: Any) -> BijectorSpec:
    """The spec of a layer that moves entries by `transform` as `conditioner`, which sees other entries, says.

    Raises ContractError for a transform between two different sets: an entry that is kept would be in the wrong one.
    """
    if transform.domain != transform.codomain:
        raise ContractError(
            "domain",
            owner,
            expected="a transform from a set onto itself",
            received=f"{transform!r}, from {transform.domain} onto {transform.codomain}",
        )
    words = {
        "domain": transform.domain,
        "codomain": transform.codomain,
        "log_det": transform.log_det,
        "inverse": transform.inverse_kind,
        "context": context_of(conditioner),
    }
    return BijectorSpec(**words | changed)
