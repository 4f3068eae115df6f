"""Trained flows that come with flowkit."""

from flowkit._shipped import closest, preset_folders
from flowkit.flow.flow import Flow


def load(name: str) -> Flow:
    """Return the flow `name`, trained as the recipe of that name says: a `Flow` with its weights, on any engine.

    `flowkit.zoo.pretrained()` lists the names; the README beside each says what it reaches. The same as
    `Flow.from_preset(name)`, which takes folders and the hub too.

    Raises ValueError for an unknown name, and for files that are not those whose sums are known.

    >>> flow = load("glow/fashion-mnist")
    >>> flow.sample(2, temperature=0.7, seed=0).shape
    (2, 28, 28, 1)
    """
    known = preset_folders()
    if name not in known:
        raise ValueError(f"there is no trained flow {name!r}; {closest(name, known)}")
    return Flow.from_preset(known[name])


def pretrained() -> list[str]:
    """Return the names that `load` takes.

    >>> print(*pretrained(), sep="  ")
    glow/digits  glow/digits-conditional  glow/emoji32  glow/fashion-mnist  glow/fashion-mnist-full  nsf/magic
    """
    return sorted(preset_folders())
