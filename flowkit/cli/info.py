"""`flowkit info`: what a bug report needs; of a name, what is in that flow, what it reaches and whose idea it was."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

import flowkit
from flowkit import presets, recipes, zoo
from flowkit._shipped import closest
from flowkit.cli.failure import CommandError
from flowkit.cli.trained import FromPreset, LoneFlow, trained
from flowkit.engines import engine
from flowkit.zoo.papers import PAPERS

_COLUMNS = 8  # of the table that a family without any is shown for


def run(name=None, *, cite=False):
    if name is None:
        if cite:
            raise CommandError(
                f"--cite: expected a NAME whose paper to cite, such as one of {', '.join(PAPERS)}"
            )
        _show(facts())
        return
    family, told, make = _meant(name)
    if cite:
        if family is None:
            raise CommandError(f"{name}: a flow alone does not say which paper it is from: name its family")
        print(PAPERS[family].bibtex())
        return
    if family is not None:
        print(f"{PAPERS[family]}\nflowkit info {name} --cite gives it as BibTeX")
    _show(told)
    make().summary()


def _show(told):
    width = max([10, *map(len, told)])
    for key, value in told.items():
        print(f"{key:{width}} {value}")


def _meant(name):
    """(the family or None, facts, what makes the flow) of a family, a recipe, a run, a preset or a file."""
    if name in zoo.ARCHITECTURES:
        return name, {}, lambda: _usual(name)
    found = trained(name)
    if isinstance(found, FromPreset):
        preset = presets.read_preset(presets.find_preset(name))
        family = None if preset.recipe is None else found.recipe().model["name"]
        return family, _told(preset), found.load_flow
    if isinstance(found, LoneFlow):
        return None, {}, found.load_flow
    if Path(name).is_dir():
        return found.recipe().model["name"], {}, found.load_flow
    known = [*zoo.ARCHITECTURES, *recipes.available()]
    if name not in known and not Path(name).is_file():
        raise CommandError(
            f"{name}: expected a family, a recipe, the folder of a run or preset, or a .keras file; "
            f"{closest(name, known)}"
        )
    recipe = recipes.read_recipe(name)
    return recipe.model["name"], {}, lambda: _of_recipe(recipe)


def _usual(family):
    """A family with its own defaults: of images of 32x32x3, of tables of 8 columns."""
    if family == "glow":
        return zoo.glow(input_shape=(32, 32, 3))
    return zoo.ARCHITECTURES[family](features=_COLUMNS)


def _of_recipe(recipe):
    """The recipe's flow, untrained, for its data; for those that it would have if they are not here."""
    tables = recipes.of_tables(recipe)
    try:
        given = (recipes.load_table if tables else recipes.load_data)(recipe, "train")
    except (OSError, ValueError):
        arguments = {key: value for key, value in recipe.model.items() if value is not None and key != "name"}
        family = zoo.ARCHITECTURES[recipe.model["name"]]
        if tables:
            domains, columns = arguments.pop("domains", None), _COLUMNS
            if isinstance(domains, list):
                arguments["domains"], columns = domains, len(domains)
            return family(**{**arguments, "features": columns})
        side = recipe.data.crop or recipe.data.size or 32
        height, width = side if isinstance(side, list) else (side, side)
        return family(**arguments, input_shape=(height, width, recipe.data.channels or 3))
    return recipes.build_flow(recipe, given)


def _told(preset):
    """What metadata.json says of a preset, in the order of the file."""
    known = preset.metadata
    data = known.get("data") or {}
    return {
        "preset": preset.folder,
        "event": " x ".join(map(str, known.get("event_shape") or ())),
        **({"classes": known["num_classes"]} if known.get("num_classes") else {}),
        "parameters": _number(known.get("parameters", 0)),
        "data": f"{data.get('name', 'not told')} {data.get('sha256') or ''}".strip(),
        **_measured(preset.measured),
        "written by": ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items()),
        "license": known.get("license", "not told"),
    }


def _measured(numbers):
    """What a run has measured, a score with its standard error in one line."""
    told = {
        name: _number(value) for name, value in numbers.items() if value is not None and name != "parameters"
    }
    for split in ("test", "validation"):
        error = told.pop(f"{split}_standard_error", None)
        score = next((name for name in told if name in (f"{split}_bits_per_dim", f"{split}_log_prob")), None)
        if error is not None and score is not None:
            told[score] = f"{numbers[score]:.4f} +- {numbers[f'{split}_standard_error']:.4f}"
    return told


def _number(value):
    """As many digits as one reads."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def facts():
    """What there is, as text: versions, engine, devices, precision."""
    return {
        "flowkit": flowkit.__version__,
        "engine": f"{engine.name} {engine.version()}",
        "devices": ", ".join(engine.devices()),
        "precision": keras.config.dtype_policy().name,
        "keras": keras.__version__,
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
