"""The files of a preset, written as a whole, and compared with their sums before they are read."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import flowkit
from flowkit.presets.card import NUMBERS, card
from flowkit.presets.errors import PresetError
from flowkit.presets.untrusted import MOST_JSON, check_config, check_weights

FORMAT = 1
_STRICT = ConfigDict(strict=True, frozen=True)
_NEEDED = ("config.json", "model.weights.h5")
_UNSUMMED = ("metadata.json", "README.md")  # people go on with a README
_FURTHER = ("check.npz", "recipe.toml")
FILES = [
    *_NEEDED,
    *_UNSUMMED,
    *_FURTHER,
    "*.png",
    "assets/*",
]  # all that goes to the hub and back


class _Data(BaseModel):
    model_config = _STRICT
    name: str | None = None
    sha256: str | None = None


class _Metadata(BaseModel):
    """The entries of metadata.json that flowkit reads, and their types; others may be anything."""

    model_config = _STRICT
    preset: int
    files: dict[str, str]
    name: str = ""
    event_shape: list[Annotated[int, Field(ge=0)] | None] | None = None
    num_classes: int | None = None
    parameters: int | None = None
    versions: dict[str, str] | None = None
    data: _Data | None = None
    measured: dict[str, Any] | None = None
    license: str | None = None
    description: str | None = None

    @field_validator("measured")
    @classmethod
    def _scores_are_numbers(cls, measured):
        for name, value in (measured or {}).items():
            scored = name in NUMBERS or name.endswith("_standard_error")
            if scored and (isinstance(value, bool) or not isinstance(value, int | float | None)):
                raise ValueError(f"{name} should be a number")
        return measured


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
                f"expected {', '.join(_FURTHER)} or NAME.png as further files, received {name!r}."
            )
    with atomic_folder(folder) as temporary:
        save(temporary)
        for name, content in (extra or {}).items():
            (temporary / name).write_bytes(content)
        empty = temporary / "assets"  # Keras makes it for layers that have some
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
        path = temporary / "metadata.json"
        metadata = json.loads(path.read_text(encoding="utf-8"))
        metadata = {"preset": FORMAT, "name": Path(os.path.abspath(folder)).name, **metadata, **about}
        metadata["files"] = {
            name: _sum(temporary / name) for name in _names(temporary) if name not in _UNSUMMED
        }
        try:
            _Metadata.model_validate(metadata)
        except ValidationError as error:
            fault = _fault(error)
            raise PresetError(
                f"about: expected values that metadata.json can hold, got others{fault}."
            ) from None
        path.write_text(json.dumps(metadata, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card(metadata), encoding="utf-8")


def read_preset(folder: str | os.PathLike[str]) -> Preset:
    """Return the preset in `folder`, after its files were compared with their sums and searched for code.

    Raises PresetError if a file is missing, is another than it was, or comes from a newer flowkit.
    """
    folder = Path(folder)
    metadata = _metadata(folder / "metadata.json")
    for name in _NEEDED:
        if name not in metadata["files"]:
            raise PresetError(
                f"{folder}: metadata.json has no SHA-256 of {name}: it is damaged, or no preset."
            )
    for name, expected in metadata["files"].items():
        if name not in _names(folder):
            raise PresetError(f"{folder}: {name} is missing: download or copy the preset again.")
        received = _sum(folder / name)
        if received != expected:
            raise PresetError(
                f"{folder / name}: expected SHA-256 {expected}, received {received}: the file is damaged or another; "
                "download or copy the preset again."
            )
    check_config(folder / "config.json")
    check_weights(folder / "model.weights.h5")
    return Preset(folder, metadata)


def _metadata(path):
    if not path.is_file():
        run = (path.parent / "recipe.toml").is_file()
        raise PresetError(
            f"{path.parent}: expected a preset, found {'a run' if run else 'no metadata.json in it'}."
            f"{f' `flowkit preset {path.parent} NAME` makes a preset of it.' * run}"
        )
    try:
        if path.stat().st_size > MOST_JSON:
            raise ValueError
        metadata = json.loads(path.read_text(encoding="utf-8"))
        _Metadata.model_validate(metadata)
    except (ValueError, RecursionError) as error:
        raise PresetError(
            f"{path}: expected the metadata of a preset, got a file that is damaged or something else"
            f"{_fault(error)}. Download or copy the preset again."
        ) from None
    if metadata["preset"] > FORMAT:
        by = (metadata.get("versions") or {}).get("flowkit", "a newer one")
        raise PresetError(
            f"{path.parent}: expected a preset of format {FORMAT}, received {metadata['preset']}: it was written by "
            f"flowkit {by}, here is {flowkit.__version__}; update flowkit."
        )
    return metadata


def _fault(error):
    """Return which entry of metadata.json is wrong, in parentheses; "" if none can be named."""
    if not isinstance(error, ValidationError):
        return ""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f" ({place}: {first['msg']})" if place else ""


def _names(folder):
    """Return the files in a folder, at any depth, as metadata.json names them."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _sum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that becomes `path` when the block ends without an error.

    Its files are on the disk before it is renamed, in a single step. Raises PresetError before anything is written if
    there is something at `path` already, other than an empty folder.
    """
    path = Path(os.path.abspath(path))
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        found = "one with files in it" if path.is_dir() else "a file"
        raise PresetError(f"{path}: expected a new folder, found {found}: remove it, or choose another.")
    if path == Path.cwd():  # renaming another into its place would leave the caller in a folder that is gone
        raise PresetError(
            f"{path}: expected a new folder, received the one that you are in: name one inside it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.partial-"))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as handle:
                    os.fsync(handle.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)  # mkdtemp gives 0700
        if path.exists():
            path.rmdir()  # Windows renames to what is not there
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
