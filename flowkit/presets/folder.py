"""The files of a preset, written as a whole, compared with their sums and searched for code before they are read.

Keras refuses code by itself, unless `keras.config.enable_unsafe_deserialization()` was called; here code is always
refused. Keras checks the weights for links and for data in other files.
"""

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import flowkit
from flowkit.presets.card import card

FORMAT = 1
_NEEDED = ("config.json", "model.weights.h5")
_UNSUMMED = ("metadata.json", "README.md")  # people may edit a README
_FURTHER = ("check.npz", "recipe.toml")
FILES = [*_NEEDED, *_UNSUMMED, *_FURTHER, "*.png", "assets/*"]  # all that goes to the hub and back
# Of entries that are read.
_TYPES = {"preset": int, "files": dict, "versions": dict, "data": dict, "measured": dict}


# Layers that run what their config holds: Python's byte code, a pickle, or a graph of TensorFlow.
_CODE = ("__lambda__", "Lambda", "TorchModuleWrapper", "TFSMLayer")
# Keras imports modules of these packages by name, and would import a folder of that name in the working folder.
_IMPORTED_BY_KERAS = ("keras_hub", "keras_cv", "keras_nlp")
# A Glow with 6 levels of 32 steps, each a layer of its own, has 300,000 bytes and 1,800 parts.
_MOST_BYTES, _MOST_PARTS = 2**22, 10_000
# Weights are stored as they are. A file may unpack to this many times its size, and a small one to this many bytes.
_MOST_TIMES, _FEW_BYTES = 16, 2**26


class PresetError(ValueError):
    """Error for a preset that cannot be found, read or written, in one line, with what to do."""


@dataclass(frozen=True)
class Preset:
    """A folder whose files have the sums in its metadata.json, and the content of that file.

    `measured` is what a run has measured, or empty; `recipe` the path of its recipe, or None.

    >>> from flowkit.presets import find_preset, read_preset
    >>> preset = read_preset(find_preset("glow/digits"))
    >>> preset  # doctest: +ELLIPSIS
    Preset('...digits', measured=['test_bits_per_dim', ...])
    >>> preset.recipe.name, preset.metadata["event_shape"]
    ('recipe.toml', [8, 8, 1])
    """

    folder: Path
    metadata: dict[str, Any]

    def __repr__(self):
        # The generated repr would print all of metadata.json.
        return f"Preset({str(self.folder)!r}, measured={list(self.measured)})"

    @property
    def measured(self) -> dict[str, Any]:
        return self.metadata.get("measured") or {}

    @property
    def recipe(self) -> Path | None:
        path = self.folder / "recipe.toml"
        return path if "recipe.toml" in self.metadata["files"] else None


def is_preset(folder: str | os.PathLike[str]) -> bool:
    """Return True if `folder` looks like a preset, and not like the folder of a run."""
    return all(os.path.isfile(os.path.join(folder, name)) for name in ("metadata.json", "config.json"))


def write_preset(
    folder: str | os.PathLike[str],
    save: Callable[[Path], None],
    about: Mapping[str, Any],
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Write a preset: `save(temporary)` writes config.json, metadata.json and weights, as Keras does.

    `about` goes into metadata.json, `extra` is name -> content of further files. Raises PresetError if there is
    something in `folder` already, and for a further file that is neither recipe.toml, check.npz nor a PNG, since the
    hub is given no others; whatever fails, no half of a preset is left.
    """
    for name in extra or {}:
        if PurePath(name).name != name or (PurePath(name).suffix != ".png" and name not in _FURTHER):
            raise PresetError(
                f"extra: got {name!r}, expected {', '.join(_FURTHER)} or NAME.png as further files."
            )
    path = Path(os.path.abspath(folder))
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        found = "a folder with files" if path.is_dir() else "a file"
        raise PresetError(f"{path}: got {found}, expected a new folder. Remove it, or choose another.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as place:
        made = Path(place, path.name)
        made.mkdir()
        save(made)
        for name, content in (extra or {}).items():
            (made / name).write_bytes(content)
        file = made / "metadata.json"
        written = json.loads(file.read_text(encoding="utf-8"))
        metadata = {"preset": FORMAT, "name": path.name, **written, **about}
        metadata["files"] = {name: _sum(made / name) for name in _names(made) if name not in _UNSUMMED}
        file.write_text(json.dumps(metadata, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (made / "README.md").write_text(card(metadata), encoding="utf-8")
        path.mkdir(exist_ok=True)
        for part in made.iterdir():
            if part.is_file() or any(part.iterdir()):  # Keras makes a folder of assets, mostly an empty one
                part.rename(path / part.name)


def read_preset(folder: str | os.PathLike[str]) -> Preset:
    """Return the preset in `folder`, after its files were compared with their sums and searched for code.

    Raises PresetError if a file is missing, is another than it was, or comes from a newer flowkit.
    """
    folder = Path(folder)
    metadata = _metadata(folder / "metadata.json")
    there = _names(folder)
    if "config.json" in there:
        _content(folder / "config.json")  # refuse a large one before its sum, which reads all of it
    for name in {*_NEEDED, *metadata["files"]}:
        if name not in there:
            raise PresetError(f"{folder}: {name} is missing: download or copy the preset again.")
        expected, received = metadata["files"].get(name), _sum(folder / name)
        if received != expected:
            raise PresetError(
                f"{folder / name}: got SHA-256 {received}, expected {expected}: the file is damaged or another. "
                "Download or copy the preset again."
            )
    check_config(folder / "config.json")
    return Preset(folder, metadata)


def _metadata(path):
    if not path.is_file():
        run = (path.parent / "recipe.toml").is_file()
        raise PresetError(
            f"{path.parent}: got {'a run' if run else 'no metadata.json in it'}, expected a preset."
            f"{f' `flowkit preset {path.parent} NAME` makes a preset of it.' * run}"
        )
    content = _content(path)
    try:
        metadata = json.loads(content)
        wrong = [key for key, kind in _TYPES.items() if not isinstance(metadata.get(key) or kind(), kind)]
        if wrong or not metadata["preset"] or not metadata["files"]:
            raise ValueError
    except (ValueError, RecursionError, AttributeError, KeyError):
        raise PresetError(
            f"{path}: got a file that is damaged or something else, expected the metadata of a preset. Download or "
            "copy the preset again."
        ) from None
    if metadata["preset"] > FORMAT:
        by = (metadata.get("versions") or {}).get("flowkit", "a newer one")
        raise PresetError(
            f"{path.parent}: got a preset of format {metadata['preset']}, expected {FORMAT}: it was written by flowkit "
            f"{by}, here is {flowkit.__version__}. Update flowkit."
        )
    return metadata


def check_config(path: Path, name: Any = None) -> None:
    """Raise PresetError if a config.json is damaged, too large, or holds code; it names the file `name` if given."""
    name = name or path
    content = _content(path, name)
    try:
        config = json.loads(content)
        if not isinstance(config, dict):
            raise ValueError(f"a {type(config).__name__}")
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{name}: got something else ({error}), expected the config of a flow.") from None
    parts = 0
    for item, copies in _dictionaries(config):
        _refuse_code(item, name)
        parts += copies * ("class_name" in item)
        if parts > _MOST_PARTS:
            raise PresetError(
                f"{name}: got a larger config, expected at most {_MOST_PARTS} parts: building them might take hours."
            )


def _content(path, name=None):
    """Return the content of a JSON file. Raises PresetError for a large one, and reads no more of it."""
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise PresetError(f"{name or path}: got a larger {path.name}, expected at most {_MOST_BYTES} bytes.")
    return content


def check_file(path: Path) -> None:
    """Raise PresetError if there is no .keras file at `path`."""
    if not (path.is_file() and zipfile.is_zipfile(path)):  # to open a pipe may take for ever
        got = "something else, perhaps damaged" if path.is_file() else "no file"
        raise PresetError(f"{path}: got {got}, expected a .keras file.")


def unpack(path: Path, folder: Path) -> None:
    """Unpack a .keras file. Raises PresetError if it is damaged, or holds far more bytes than its size."""
    check_file(path)
    try:
        with zipfile.ZipFile(path) as file:
            _refuse_bytes(sum(member.file_size for member in file.infolist()), path, path)
            file.extractall(folder)
    except PresetError:
        raise
    except Exception as error:  # of zipfile, zlib and other decompressors
        raise PresetError(f"{path}: got a damaged file ({error}), expected a .keras file.") from error
    if missing := [name for name in _NEEDED if not (folder / name).is_file()]:
        raise PresetError(f"{path}: got no {' and no '.join(missing)} in it, expected a .keras file.")


def count_weights(path: Path, name: Any) -> int:
    """Return how many numbers a file of weights holds. Raises PresetError if they take far more bytes than its size."""
    import h5py

    found: list[Any] = []
    with h5py.File(path) as file:
        file.visititems(
            lambda _, item: found.append((item.size, item.nbytes)) if hasattr(item, "size") else None
        )
    _refuse_bytes(sum(nbytes for _, nbytes in found), path, name)
    return sum(size for size, _ in found)


def _refuse_bytes(size, path, name):
    most = max(_FEW_BYTES, _MOST_TIMES * path.stat().st_size)
    if size > most:
        raise PresetError(f"{name}: got a file that unpacks to {size:,} bytes, expected at most {most:,}.")


def _dictionaries(config):
    """Yield each dictionary of a config, at any depth, and how many copies of it the `Repeat`s around it make."""
    waiting = [(config, 1)]
    while waiting:
        item, copies = waiting.pop()
        if isinstance(item, dict):
            yield item, copies
            n = item.get("n") if "block" in item else 1
            copies *= n if isinstance(n, int) and n > 1 else 1
            waiting.extend((value, copies) for value in item.values())
        elif isinstance(item, list):
            waiting.extend((value, copies) for value in item)


def _refuse_code(item, name):
    """Raise PresetError for a dictionary of a config that names a layer of code, or a package to be imported."""
    kind = str(item.get("class_name")).rpartition(".")[2]  # "layers.Lambda" of the module "keras" is one too
    if kind in _CODE:
        raise PresetError(
            f"{name} contains code, a {kind.strip('_')}, and flowkit runs no code of files: make it a layer of your "
            "own, registered with @keras.saving.register_keras_serializable()."
        )
    package = str(item.get("module")).partition(".")[0]
    if package in _IMPORTED_BY_KERAS and package not in sys.modules:
        raise PresetError(f"{name} names a class of {package!r}, which is not imported: import it first.")


def _names(folder):
    """Return the files in a folder, at any depth, as metadata.json names them."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _sum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
