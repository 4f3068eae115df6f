"""Where recipes are: files, and those that come with flowkit."""

from pathlib import Path

from flowkit._shipped import closest, recipe_files
from flowkit.recipes.schema import RecipeError
from flowkit.zoo import ARCHITECTURES


def find(name: str) -> Path:
    """The path of a recipe: a file, or a name such as `glow/digits` among those of flowkit.

    Raises a RecipeError that lists the nearest names if there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = available()
    if name in known:
        return known[name]
    if path.is_dir():
        raise RecipeError(f"{name or 'RECIPE'}: expected a recipe file, found a folder")
    if path.suffix == ".toml" or path.exists():
        raise RecipeError(f"{name}: expected a recipe file, found none there")
    if name in ARCHITECTURES:
        of_it = [other for other in known if other.startswith(f"{name}/")]
        raise RecipeError(
            f"{name} is a family, and no recipe: expected {', '.join(of_it) if of_it else 'a recipe of yours'}"
            f'{", or a recipe of yours" * bool(of_it)}, a TOML file whose [model] has name = "{name}"'
        )
    raise RecipeError(f"there is no recipe {name!r}; {closest(name, known)}")


def available() -> dict[str, Path]:
    """Name -> path of the recipes that come with flowkit."""
    return recipe_files()
