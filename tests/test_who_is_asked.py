"""Which engines `make test` asks a test: by the nearest mark, and never none of those that can answer."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import engines_asked

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]


def item(*marks, file="flows/test_a.py", name="test", own=True, **params):
    """What pytest would collect, the nearest mark first."""
    marks = [getattr(mark, "mark", mark) for mark in marks]
    return SimpleNamespace(
        path=ROOT / "tests" / file,
        nodeid=f"{file}::{name}[{params}]",
        callspec=SimpleNamespace(params=params),
        own_markers=marks if own else [],
        iter_markers=lambda: iter(marks),
        get_closest_marker=lambda name: next((mark for mark in marks if mark.name == name), None),
        add_marker=lambda name: given.append(name),
        given=(given := []),
    )


def asked(*items):
    engines_asked.mark_engines(list(items))
    return [each.given for each in items]


def test_the_nearest_mark_says_how_many_are_asked_and_else_the_room():
    one, two, every = pytest.mark.one_engine, pytest.mark.two_engines, pytest.mark.every_engine
    assert asked(item(), item(two), item(one)) == [["jax"], ["jax"], []]
    assert asked(item(every, one), item(one, every)) == [["jax", "tensorflow"], []]
    of_three, of_one = "bijectors/test_a.py", "app/test_a.py"
    assert asked(item(file=of_three), item(file=of_one)) == [["jax", "tensorflow"], []]
    assert asked(item(one, file=of_three), item(every, file=of_one)) == [[], ["jax", "tensorflow"]]


def test_the_first_of_each_kind_is_asked_of_all():
    wide = pytest.mark.wide
    assert asked(*(item(wide, n=n) for n in range(3))) == [["jax"], [], []]
    kinds = [item(wide("of", "word"), of=of, word=word) for of in (1.5j, 2.5j, b"") for word in "ab"]
    assert [bool(given) for given in asked(*kinds)] == [True, True, False, False, True, True]
    odd = wide.with_args(lambda case: case["n"] % 2)
    assert [bool(given) for given in asked(*(item(odd, n=n) for n in range(4)))] == [True, True, False, False]
    assert asked(item(wide, n=0, name="test_a"), item(wide, n=0, name="test_b"))[1] != []


def test_without_a_mark_of_its_own_the_first_case_is_asked_of_all():
    two = pytest.mark.two_engines
    assert asked(*(item(n=n) for n in range(2))) == [["jax"], []]
    assert asked(*(item(two, own=False, n=n) for n in range(2))) == [["jax"], []]
    assert asked(*(item(two, n=n) for n in range(2))) == [["jax"], ["jax"]]


def test_rooms_are_there():
    assert [room for room in engines_asked.ROOMS if not (ROOT / "tests" / room).is_dir()] == []


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


NAMED = re.compile(r"engine\.name (==|!=|in|not in) (.*)")


def skips(expression, engine):
    """Whether a condition on `engine.name` and nothing else is true of an engine; False for other conditions."""
    found = NAMED.fullmatch(expression)
    if found is None:
        return False
    try:
        names = ast.literal_eval(found[2])
    except ValueError:
        return False
    names = (names,) if isinstance(names, str) else names
    return (engine in names) is (found[1] in ("==", "in"))


def conditions(path):
    """{test: the conditions on which it is skipped}, of its marks and of an `if` with a skip in its body."""
    tree = ast.parse(path.read_text("utf-8"))
    found = {
        name: re.findall(r"skipif\((engine\.name[^,]*(?:\([^)]*\))?), reason", " ".join(marks))
        for name, marks in each_test(path)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in found:
            found[node.name] += [
                ast.unparse(inner.test)
                for inner in ast.walk(node)
                if isinstance(inner, ast.If) and "pytest.skip(" in "".join(map(ast.unparse, inner.body))
            ]
    return found


def test_conditions_are_read():
    assert [skips("engine.name != 'jax'", engine) for engine in ("torch", "jax")] == [True, False]
    assert [skips("engine.name in ('torch', 'jax')", engine) for engine in ("jax", "tensorflow")] == [
        True,
        False,
    ]
    assert not skips("engine.name == other", "jax")


def test_what_is_skipped_on_each_engine_that_is_asked_is_asked_of_another():
    nowhere, seen = [], 0
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        room, found = path.relative_to(ROOT / "tests").parts[0], conditions(path)
        for name, marks in each_test(path):
            near = [word for mark in marks for word in engines_asked.ASKED if f"mark.{word}" in mark]
            asked = engines_asked.count(room, near)
            engines = ("torch", "jax", "tensorflow")
            answer = [not any(skips(one, engine) for one in found[name]) for engine in engines]
            seen += not all(answer)
            if any(answer) and not any(answer[:asked]):
                nowhere.append(f"{path.name}::{name}")
    assert seen >= 20
    assert nowhere == []


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
