"""The checklists of CONTRIBUTING.md: what a new transform, bijector or zoo entry must not lack."""

import ast
import functools
import re
from pathlib import Path

import keras
import pytest
from cases import ALL

import flowkit

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]
PLAIN = {"Exp", "Logit", "Scale", "Shift", "Sigmoid", "Softplus", "Tanh"}  # whose formula says it all
BASES = {"Elementwise", "Solved", "StraightTails", "Transform"}  # of which others are made
TESTS = {
    "bijectors": [ROOT / "tests/cases.py"],
    "transforms": [*sorted((ROOT / "tests/transforms").glob("*.py")), ROOT / "tests/cases.py"],
}


# What no paper brought up: rearranging, bookkeeping, a textbook's formula.
NO_PAPER = {
    *("Flatten", "Inverse", "OnColumns", "Permute", "Repeat", "Reshape", "SoftBounds"),
    *("Standardize", "Unconstrain"),
    *("ByColumn", "Gaussian"),
}
SHAPES = r"\bvectors?\b|\bimages?\b|\(batch|\(h, w|\(n,"


@functools.cache
def of_one_rank():
    """The bijectors whose specs ask for vectors alone, or for images alone."""
    made = [
        case.make() if callable(case.make) and not hasattr(case.make, "spec") else case.make for case in ALL
    ]
    return {type(layer).__name__ for layer in made if layer.spec.event_rank is not None}


def missing(room, name):
    """What of the checklist a public class lacks, as the list calls it."""
    found = [
        ast.get_docstring(node) or ""
        for path in sorted((ROOT / "flowkit" / room).rglob("*.py"))
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    if not found:
        return ["a file of its own room"]
    text = found[0]
    tested = any(re.search(rf"\b{name}\b", file.read_text("utf-8")) for file in TESTS[room])
    lacks = (
        [] if tested else [f"a case in {' or '.join(str(file.relative_to(ROOT)) for file in TESTS[room])}"]
    )
    if name not in PLAIN and ">>>" not in text:
        lacks.append("a doctest")
    if not re.search("=", text.split(">>>")[0]):
        lacks.append("a formula")
    if name not in PLAIN | NO_PAPER and not re.search(r"\b(19|20)\d\d\b", text):
        lacks.append("a paper with its year")
    if name in of_one_rank() and not re.search(SHAPES, text):
        lacks.append("the shapes that it takes")
    return lacks if text else [*lacks, "a docstring"]


@pytest.mark.parametrize("room", ["transforms", "bijectors"])
def test_each_has_what_the_list_asks_for(room):
    names = set(getattr(flowkit, room).__all__) - BASES
    lacking = {name: lacks for name in sorted(names) if (lacks := missing(room, name))}
    assert lacking == {}, f"see CONTRIBUTING.md, Add a {room.removesuffix('s')}"


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
