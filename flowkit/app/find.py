"""Recipes by name: files, and those that come with flowkit. Imports neither Keras nor an engine."""

from pathlib import Path

from flowkit._shipped import FAMILIES, closest, recipe_files
from flowkit.app.failure import RecipeError


def find(name: str) -> Path:
    """Return the path of a recipe: a file, or a name such as `glow/digits` among those of flowkit.

    Raises a RecipeError that lists the nearest names if there is none.
    """
    path, known = Path(name), recipe_files()
    if path.is_file():
        return path
    if name in known:
        return known[name]
    if path.is_dir():
        raise RecipeError(f"{name or 'RECIPE'}: expected a recipe file, found a folder")
    if path.suffix == ".toml" or path.exists():
        raise RecipeError(f"{name}: expected a recipe file, found none there")
    if name in FAMILIES:
        of_it = [other for other in known if other.startswith(f"{name}/")]
        expected = f"{', '.join(of_it)}, or a recipe of yours" if of_it else "a recipe of yours"
        raise RecipeError(
            f"{name} is a family, and no recipe: expected {expected}, a TOML file whose [model] has "
            f'name = "{name}"'
        )
    raise RecipeError(f"there is no recipe {name!r}; {closest(name, known)}")


def available() -> dict[str, Path]:
    """Return name -> path of the recipes that come with flowkit."""
    return recipe_files()
