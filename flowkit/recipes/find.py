"""Where recipes are: files, and those that come with flowkit."""

import difflib
from pathlib import Path

from flowkit.recipes.schema import RecipeError


def find(name):
    """The path of a recipe: a file, or a name such as `glow/digits` among those of flowkit.

    Raises a RecipeError that lists the nearest names where there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = available()
    if name in known:
        return known[name]
    if path.suffix == ".toml" or path.exists():
        raise RecipeError(f"{name}: expected a recipe file, found none there")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
    raise RecipeError(f"there is no recipe {name!r}; the nearest are {', '.join(near)}")


def available():
    """Name -> path of the recipes that come with flowkit."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "zoo"
    folder = package / "zoo" / "recipes"  # in an installed wheel
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        folder = checkout
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.glob("*/*.toml"))
    }
