"""Trained flows that come with flowkit."""

import hashlib

import keras

from flowkit.flows.flow import Flow
from flowkit.zoo.files import closest, files


def load(name: str) -> Flow:
    """The flow `name`, trained as the recipe of that name says: a `Flow` with its weights, on any engine.

    `flowkit.zoo.pretrained()` lists the names; zoo/glow/README.md has what each reaches. The file is compared
    with its SHA-256 first.

    Raises ValueError for an unknown name, and for a file that is not the one whose sum is known.

    >>> flow = load("glow/fashion-mnist")
    >>> flow.sample(2, temperature=0.7, seed=0).shape
    (2, 28, 28, 1)
    """
    known = files("keras")
    if name not in known:
        raise ValueError(f"there is no trained flow {name!r}; the nearest are {closest(name, known)}")
    path = known[name]
    received, expected = hashlib.sha256(path.read_bytes()).hexdigest(), _sums(path.parent).get(path.name)
    if received != expected:
        raise ValueError(
            f"{path}: expected SHA-256 {expected}, received {received}: the file is damaged or another; "
            "install flowkit again."
        )
    return keras.saving.load_model(path)


def pretrained() -> list[str]:
    """The names that `load` takes.

    >>> pretrained()
    ['glow/digits', 'glow/fashion-mnist']
    """
    return sorted(files("keras"))


def _sums(folder):
    """File name -> SHA-256, as `sha256sum` writes them."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name.removeprefix("*"): digest for digest, name in (line.split(maxsplit=1) for line in lines)}
