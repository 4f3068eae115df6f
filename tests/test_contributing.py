"""The checklists of CONTRIBUTING.md: what a new transform, bijector or zoo entry must not lack."""

import re
from pathlib import Path

import keras
import pytest

import flowkit

ROOT = Path(__file__).parents[1]
BASES = {"Elementwise", "Solved", "StraightTails", "Transform"}  # of which others are made
TESTS = {
    "bijectors": [ROOT / "tests/cases.py"],
    "transforms": [*sorted((ROOT / "tests/transforms").glob("*.py")), ROOT / "tests/cases.py"],
}


@pytest.mark.parametrize("room", ["transforms", "bijectors"])
def test_each_has_a_case_and_a_formula(room):
    tests = "".join(file.read_text("utf-8") for file in TESTS[room])
    kinds = {
        name: getattr(getattr(flowkit, room), name) for name in set(getattr(flowkit, room).__all__) - BASES
    }
    untested = [name for name in kinds if not re.search(rf"\b{name}\b", tests)]
    assert untested == [], f"write a case in {TESTS[room][-1].name}"
    assert [name for name, kind in kinds.items() if "=" not in kind.__doc__.split(">>>")[0]] == []


@pytest.mark.parametrize("room", ["transforms", "bijectors"])
def test_each_that_a_file_may_hold_has_its_place_in_the_api(room):
    """The page is made of the room's `__all__`; what Keras can read from files is there, and all that is there."""
    classes = keras.saving.get_custom_objects().values()
    registered = {one.__name__ for one in classes if one.__module__.startswith(f"flowkit.{room}.")}
    assert len(registered) > 10
    assert registered == set(getattr(flowkit, room).__all__), "see CONTRIBUTING.md"


def test_each_card_names_each_of_its_recipes():
    for folder in sorted(path for path in (ROOT / "zoo").iterdir() if path.is_dir()):
        card = (folder / "README.md").read_text("utf-8")
        lacking = [path.stem for path in folder.glob("*.toml") if f"{folder.name}/{path.stem}`" not in card]
        assert lacking == [], f"{folder.name}/README.md"


def test_the_citation_is_of_this_version():
    import cffconvert

    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {flowkit.__version__}\n" in cited
    cffconvert.Citation(cited).validate()
