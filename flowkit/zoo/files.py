"""The recipes and weights that come with flowkit, by name."""

import difflib
from pathlib import Path


def files(kind):
    """Name such as "glow/digits" -> path, of the files `zoo/*/*.KIND`: those of the checkout, or of the wheel."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "zoo"
    folder = package / "zoo" / "recipes"  # in an installed wheel
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        folder = checkout
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.glob(f"*/*.{kind}"))
    }


def closest(name, known):
    """The names that `name` may have meant, for a message: all of them if none is near."""
    return ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known))
