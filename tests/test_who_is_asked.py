"""Which engines `make test` asks a test: by the nearest mark, and never none of those that can answer."""

import ast
import re
from pathlib import Path

import pytest

from tests import engines_asked

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]


def recipe(target):
    text = (ROOT / "Makefile").read_text("utf-8")
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, flags=re.MULTILINE)[1]


def test_make_test_runs_all_but_long_ones_on_one_engine_and_make_check_all():
    choice = r"EACH|--ignore|--deselect|-k |-m |tests/"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.findall(choice, recipe("test-torch")) == ["EACH"]
    assert "test-torch test-keras: EACH := -m 'not long'\n" in makefile
    tests = recipe("check-tests")
    assert 'if [ $$engine = torch ]; then only=; else only="-m $$engine"; fi' in tests
    assert re.findall(choice, tests) == ["-m ", "--ignore"]
    assert "$(addprefix --ignore ,$(CONTRACTS))" in tests
    assert "--bijector-profile full $(PYTEST) -k 'not compiled or jax' $(CONTRACTS)" in recipe(
        "check-contracts"
    )


def texts(nodes, names):
    """Decorators as text, names of the module replaced by what they stand for."""
    return [names.get(ast.unparse(node), ast.unparse(node)) for node in nodes]


def each_test(path):
    """(name, its decorators, its class's, the module's marks) of each test of a file."""
    body = ast.parse(path.read_text("utf-8")).body
    names = {
        ast.unparse(node.targets[0]): ast.unparse(node.value) for node in body if isinstance(node, ast.Assign)
    }
    for top in body:
        inside = top.body if isinstance(top, ast.ClassDef) else [top]
        around = texts(top.decorator_list, names) if isinstance(top, ast.ClassDef) else []
        for node in inside:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                yield node.name, [*texts(node.decorator_list, names), *around, names.get("pytestmark", "")]


def test_what_one_engine_alone_can_answer_it_is_asked():
    nowhere, seen = [], 0
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        room = path.relative_to(ROOT / "tests").parts[0]
        for name, marks in each_test(path):
            near = [word for mark in marks for word in engines_asked.ASKED if f"mark.{word}" in mark]
            engines = engines_asked.count(room, near)
            for engine, least in (("jax", 2), ("tensorflow", 3)):
                alone = rf"engine\.name != '{engine}'|engine_is\['{engine}'\]"
                if any(re.search(alone, mark) for mark in marks):
                    seen += 1
                    if engines < least:
                        nowhere.append(f"{path.name}::{name}")
    assert seen >= 10
    assert nowhere == []
