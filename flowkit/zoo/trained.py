"""Trained flows that come with flowkit."""

from flowkit._shipped import closest, preset_folders, shipped_preset
from flowkit.flow.flow import Flow


def load(name: str) -> Flow:
    """Return the flow `name`, trained by the recipe of that name, on any backend.

    `flowkit.zoo.pretrained()` lists the names. `Flow.from_preset(name)` also takes folders and the hub. An installed
    flowkit downloads large weights once and keeps them in ~/.cache/flowkit.

    Raises ValueError for an unknown name and for damaged files, ConnectionError if a download fails.

    >>> flow = load("glow/fashion-mnist")
    >>> flow.sample(2, temperature=0.7, seed=0).shape
    (2, 28, 28, 1)
    """
    folder = shipped_preset(name)
    if folder is None:
        raise ValueError(f"there is no trained flow {name!r}; {closest(name, preset_folders())}")
    return Flow.from_preset(folder)


def pretrained() -> list[str]:
    """Return the names that `load` takes.

    >>> print(*pretrained(), sep="  ")  # doctest: +ELLIPSIS
    glow/digits  glow/digits-conditional  glow/emoji32  ...  maf_images/fashion-mnist-full  nsf/magic
    """
    return sorted(preset_folders())
