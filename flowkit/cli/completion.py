"""What a shell completes beside commands and options: names that come with flowkit. No engine is imported for it.

Whatever is none of these the shell completes as a path.
"""

from flowkit._engine import ENGINES
from flowkit._shipped import preset_folders, recipe_files


def engines(incomplete: str) -> list[str]:
    return _begun(ENGINES, incomplete)


def recipes(incomplete: str) -> list[str]:
    return _begun(recipe_files(), incomplete)


def trained(incomplete: str) -> list[str]:
    return _begun(preset_folders(), incomplete)


def _begun(names, incomplete):
    return sorted(name for name in names if name.startswith(incomplete))
