"""Who may import whom, and the twins. The only list of import directions is here."""

import ast
import graphlib
import inspect
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flowkit"
ENGINES = {"torch", "jax", "jaxlib", "tensorflow"}
# Each engine has a file for each, or uses that of `any`.
TOPICS = (
    "backprop",
    "constants",
    "convolution",
    "dense",
    "derivation",
    "engine",
    "export",
    "gradients",
    "group",
    "inference",
    "moves",
    "numerics",
    "parts",
    "precision",
    "recording",
    "replicas",
    "rows",
    "steps",
)

# room -> the rooms it may see. `_engine`, the choice of an engine, `_registration` and `_shipped` belong to none.
MAY_IMPORT = {
    "contract": set(),
    "numerics": {"backends"},
    "transforms": {"contract", "numerics", "backends"},
    "bijectors": {"contract", "numerics", "transforms"},
    "surjections": {"contract"},
    "conditioners": {"contract", "numerics", "backends"},
    "distributions": {"contract", "numerics", "transforms"},
    "objectives": {"contract"},
    "flow": {
        "contract",
        "bijectors",
        "conditioners",
        "distributions",
        "objectives",
        "data",
        "distributed",
        "presets",
        "backends",
    },
    "presets": set(),
    "distributed": {"contract", "backends"},
    "data": {"contract", "distributed"},
    "evaluation": {"flow", "bijectors", "contract", "distributions"},
    "diagnostics": {"flow", "bijectors", "contract", "distributions", "evaluation", "training"},
    "latent": {"flow", "bijectors", "contract", "data"},
    "zoo": {"contract", "transforms", "bijectors", "conditioners", "distributions", "data", "flow"},
    "convert": {
        "contract",
        "transforms",
        "bijectors",
        "conditioners",
        "distributions",
        "data",
        "flow",
        "zoo",
        "backends",
    },
    "training": {"contract", "flow", "backends", "data", "distributed"},
    "backends": set(),
    "testing": {"numerics", "contract", "backends", "bijectors", "conditioners", "transforms"},
    "play": {"contract", "bijectors", "flow"},
    "_engine": set(),
    "_registration": set(),
    "_shipped": set(),
    "__init__": set(),
}
MAY_IMPORT["app"] = {*MAY_IMPORT}
MAY_IMPORT["__main__"] = MAY_IMPORT["recipes"] = {"app"}
ALSO = {
    "flowkit.bijectors.chain": {"backends"},  # gradients that save memory
    "flowkit.bijectors.derivation": {"backends"},  # what an engine computes for all alike parts at once
    "flowkit.bijectors.repeats": {"backends"},  # an engine that Keras would import to compare two layers
    "flowkit.bijectors.autoregressive": {"backends"},  # whether gradients are needed
    "flowkit.bijectors.one_after_another": {"backends"},  # a loop that compilers take for one
    "flowkit.bijectors.block_autoregressive": {"backends"},  # as autoregressive
    "flowkit.bijectors.residual": {"backends"},  # as one_after_another
    "flowkit.transforms.affine": {"backends"},  # two functions of the same number, in one call
    "flowkit.bijectors.coupling": {"backends"},  # sums that cost no more than their numbers
    "flowkit.bijectors.multiscale": {"backends"},  # rearrangements that cost no more than their numbers
    "flowkit.bijectors.rearrange": {"backends"},  # as multiscale
    "flowkit.bijectors.unconstrain": {"backends"},  # as splits
    "flowkit.flow.saved": {"__init__"},  # its own version, which files are told
    "flowkit.presets.folder": {"__init__"},
    "flowkit.presets.hub": {"__init__"},
}
FREE = {"_engine", "_registration", "_shipped"}


def modules():
    """name -> (path, syntax tree) of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (path, ast.parse(path.read_text()))
    return found


MODULES = modules()


def imported(name):
    """The full names of what a module imports anywhere in it: a.b for `from a import b`, b a module."""
    path, tree = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                yield deeper if deeper in MODULES else base


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


def test_only_backends_imports_an_engine():
    wrong = [
        f"{name} -> {target}"
        for name in MODULES
        for target in imported(name)
        if target.split(".")[0] in ENGINES and room(name) != "backends"
    ]
    assert wrong == []


def test_each_engine_file_imports_its_own_engine_and_no_other():
    for engine in ENGINES - {"jaxlib"}:
        for topic in TOPICS:
            if f"flowkit.backends.{engine}.{topic}" in MODULES:
                targets = {t.split(".")[0] for t in imported(f"flowkit.backends.{engine}.{topic}")}
                assert targets & ENGINES == {engine}


def test_the_contract_stands_on_keras_alone():
    standard = {
        "ast",
        "contextlib",
        "contextvars",
        "dataclasses",
        "difflib",
        "functools",
        "inspect",
        "math",
        "numbers",
        "operator",
        "types",
        "typing",
        "collections",
        "textwrap",
        "threading",
        "warnings",
    }
    for name in MODULES:
        if room(name) == "contract":
            assert {t.split(".")[0] for t in imported(name)} <= standard | {"keras", "flowkit"}, name


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


def test_nothing_is_called_utils():
    names = [path.stem for folder in (PACKAGE, ROOT / "tests") for path in folder.rglob("*.py")]
    assert not {"utils", "util", "helpers", "misc", "common"} & set(names)


def test_each_folder_of_zoo_is_named_after_what_the_package_builds():
    folders = {path.name for path in (ROOT / "zoo").iterdir() if path.is_dir()}
    defined = {
        node.name
        for name, (_, tree) in MODULES.items()
        if room(name) == "zoo"
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    assert folders <= defined


def test_the_package_folder_backends_and_the_folder_backends_are_one_to_one():
    folders = [path for path in (PACKAGE / "backends").iterdir() if (path / "__init__.py").is_file()]
    files = {folder.name: {path.stem for path in folder.glob("[!_]*.py")} for folder in folders}
    shared = files.pop("any")
    coded = files.keys()
    for own in files.values():
        assert own <= set(TOPICS) <= own | shared
    # Keras's numpy engine needs no environment of its own: it is there wherever JAX is.
    assert coded - {"numpy"} == {path.name for path in (ROOT / "backends").iterdir() if path.is_dir()}


def test_the_twins_of_the_package_hold_no_python():
    for folder in ("zoo", "backends"):
        assert list((ROOT / folder).rglob("*.py")) == []


def engine_functions(engine):
    """name -> (arguments, first line of the docstring) of the public functions of one engine's files.

    What they do not define is that of `any`.
    """
    found = {}
    files = [f"flowkit.backends.{whose}.{topic}" for whose in ("any", engine) for topic in TOPICS]
    for node in (node for file in files if file in MODULES for node in MODULES[file][1].body):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = (
                ast.unparse(node.args),
                inspect.cleandoc(ast.get_docstring(node)).split("\n")[0],
            )
    return found


@pytest.mark.parametrize("engine", ["torch", "tensorflow", "numpy"])
def test_the_engine_files_define_the_same_functions(engine):
    functions, expected = engine_functions(engine), engine_functions("jax")
    assert functions.keys() == expected.keys()
    for name, (arguments, summary) in functions.items():
        assert arguments == expected[name][0]
        # What numpy cannot do says so in its place.
        assert summary == expected[name][1] or (engine == "numpy" and summary.startswith("Not on numpy"))


def test_backends_hands_on_every_engine_function():
    _, tree = MODULES["flowkit.backends"]
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert engine_functions("jax").keys() <= names
