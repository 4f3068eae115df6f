"""The recipes and trained flows that come with flowkit, by name."""

import difflib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import metadata
from pathlib import Path

WEIGHTS = "model.weights.h5"


def recipe_files() -> dict[str, Path]:
    """Return {name: path} of the recipes, such as "glow/digits", and "images" and "table" for data of one's own."""
    folder = _zoo()
    paths = [*sorted(folder.glob("*.toml")), *sorted(folder.glob("*/*.toml"))]
    return {_name(path.with_suffix(""), folder): path for path in paths}


def preset_folders() -> dict[str, Path]:
    """Return {name: folder} of the trained flows; each is named after the recipe beside it."""
    folder = _zoo()
    return {_name(path.parent, folder): path.parent for path in sorted(folder.glob("*/*/metadata.json"))}


def shipped_preset(name: str) -> Path | None:
    """Return the folder of a trained flow, with its weights; None for an unknown name.

    The wheel holds small weights; others are downloaded once and kept in ~/.cache/flowkit.
    Raises ConnectionError if that fails.
    """
    folder = preset_folders().get(name)
    if folder is None or (folder / WEIGHTS).is_file():
        return folder
    address = address_of_weights()
    if "/owner/" in address.lower():
        raise ConnectionError(
            f"{name}: got no weights in this installation, and no address to download them from, because the "
            "repository is not public yet. Install flowkit from a clone, which holds them: pip install -e CLONE."
        )
    sha256 = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))["files"][WEIGHTS]
    copy = cache_folder() / "presets" / name / sha256
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    download(f"{address}/{name}/{WEIGHTS}", copy / WEIGHTS, sha256)
    return copy


def address_of_weights() -> str:
    """Return the address of the large weights that the wheel leaves out: the folder `zoo` of the repository."""
    known = (one.partition(", ") for one in metadata("keras-flowkit").get_all("Project-URL", []))
    return next(f"{url}/raw/main/zoo" for label, _, url in known if label == "Repository")


def cache_folder() -> Path:
    """Return the folder for downloaded files; XDG_CACHE_HOME moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowkit"


def download(url: str, path: Path, sha256: str) -> None:
    """Write the file at `url` to `path`, once. Raises ConnectionError if it is another or out of reach."""
    if path.is_file() and _sum(path.read_bytes()) == sha256:
        return
    from urllib.request import urlopen  # imported late: it takes longer than all of this module

    print(f"downloading {url}", file=sys.stderr)
    try:
        with urlopen(url, timeout=60) as answer:
            content = answer.read()
        if _sum(content) != sha256:
            raise ConnectionError(f"got a file with SHA-256 {_sum(content)}, expected {sha256}")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise ConnectionError(f"{url} could not be downloaded: {error}. Put the file at {path}.") from error


def _sum(content):
    return hashlib.sha256(content).hexdigest()


def closest(name: str, known: Iterable[str]) -> str:
    """Return the names nearest to `name` for a message, "the nearest are ...": all of them if none is near.

    >>> closest("nfs", ["nsf", "maf"]), closest("?", ["nsf", "maf"])
    ('the nearest is nsf', 'there are maf, nsf')
    """
    if near := difflib.get_close_matches(name, known, n=3, cutoff=0.4):
        return f"the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    return f"there are {', '.join(sorted(known))}"


def _zoo():
    """Return the folder `zoo` of the checkout, or of the wheel."""
    package = Path(__file__).parent
    checkout = package.parent / "zoo"
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return package / "zoo" / "recipes"


def _name(path, folder):
    return path.relative_to(folder).as_posix()
