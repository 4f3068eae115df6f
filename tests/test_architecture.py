"""Who may import whom, by the table of docs/architecture.md, and the twins."""

import ast
import functools
import graphlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flowkit"
ENGINES = {"torch", "jax", "jaxlib", "tensorflow"}
# Modules that no row of docs/architecture.md has; those of `FREE` may be imported everywhere.
FREE = {"_engine", "_printable", "_registration", "_shipped"}


def may_import():
    """room -> the rooms that it may import, by the table of docs/architecture.md."""
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    allowed = {name: set() for name in (*FREE, "__init__")} | {"__main__": {"app"}}
    for row in re.findall(r"^\| (`.*`) \| .* \| (.*) \|$", page.partition("## Four trips")[0], re.MULTILINE):
        for room in re.findall(r"`(\w+)(?:/|\.py)`", row[0]):
            named = re.findall(r"(\w+)(?: \(`(\w+)`\))?(?:, |$)", row[1])
            allowed[room] = {other for other, only in named if only in ("", room)}
    return {room: {*allowed} if others == {"everything"} else others for room, others in allowed.items()}


MAY_IMPORT = may_import()
ALSO = {
    "flowkit.flow.saving": {"__init__"},  # its own version, which files are told
    "flowkit.presets.folder": {"__init__"},
    "flowkit.presets.hub": {"__init__"},
}


def modules():
    """name -> (path, syntax tree) of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (path, ast.parse(path.read_text()))
    return found


MODULES = modules()


def executed(tree):
    """The nodes of a module but for those below `if TYPE_CHECKING:`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


@functools.cache
def imported(name):
    """The full names of what a module imports anywhere in it: a.b for `from a import b`, b a module."""
    path, tree = MODULES[name]
    found = []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in executed(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                found.append(deeper if deeper in MODULES else base)
    return found


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_room_is_in_the_list():
    assert {room(name) for name in MODULES} <= MAY_IMPORT.keys()


def test_no_room_looks_up():
    wrong = []
    for name in MODULES:
        allowed = MAY_IMPORT[room(name)] | ALSO.get(name, set()) | FREE | {room(name)}
        for target in imported(name):
            if target.split(".")[0] == "flowkit" and room(target) not in allowed:
                wrong.append(f"{name} -> {target}")
    assert wrong == []


def test_only_engines_imports_an_engine():
    wrong = [
        f"{name} -> {target}"
        for name in MODULES
        for target in imported(name)
        if target.split(".")[0] in ENGINES and room(name) != "engines"
    ]
    assert wrong == []


def test_each_engine_file_imports_its_own_engine_and_no_other():
    for name in MODULES:
        engine = name.rpartition(".")[2].partition("_")[0]
        if room(name) == "engines" and not name.endswith("foreign_files"):  # any engine's, for any engine
            found = {target.split(".")[0] for target in imported(name)} & ENGINES
            assert found == ({engine} & ENGINES), name


def test_the_contract_stands_on_keras_and_numpy_alone():
    standard = {*sys.stdlib_module_names}
    for name in MODULES:
        if room(name) == "contract":
            assert {t.split(".")[0] for t in imported(name)} <= standard | {"keras", "numpy", "flowkit"}, name


def test_no_module_imports_its_own_front_door():
    """A file that imports the package it lies in makes a cycle."""
    wrong = []
    for name, (path, _) in MODULES.items():
        door = name.rpartition(".")[0]
        if path.name != "__init__.py" and door != "flowkit":
            wrong += [f"{name} -> {target}" for target in imported(name) if target == door]
    assert wrong == []


def test_imports_make_no_cycle():
    graph = {name: {t for t in imported(name) if t in MODULES and t != name} for name in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which shows the cycle


def methods(name, title):
    """{name: arguments} of the methods of an engine's class; None for a function of another file."""
    _, tree = MODULES[f"flowkit.engines.{name}"]
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == title]
    defined = {node.name: ast.unparse(node.args) for node in found.body if isinstance(node, ast.FunctionDef)}
    taken = [node.targets[0].id for node in found.body if isinstance(node, ast.Assign)]
    return defined | dict.fromkeys(taken)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("torch", "TorchEngine"),
        ("jax", "JaxEngine"),
        ("tensorflow", "TensorFlowEngine"),
        ("numpy", "NumpyEngine"),
    ],
)
def test_an_engine_overrides_what_the_base_class_has_and_adds_nothing(name, title):
    base = methods("base", "Engine")
    for method, arguments in methods(name, title).items():
        if method not in ("name", "StepWindows"):
            assert method in base
            assert arguments in (None, base[method]) or "**options" in arguments, method
