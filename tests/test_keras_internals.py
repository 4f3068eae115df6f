"""What flowkit uses of Keras that is not public: all of it is on a page, and does what is assumed of it."""

import ast
import collections
import functools
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Scale
from flowkit.contract import ContractError
from flowkit.training import GuardedOptimizer

pytestmark = pytest.mark.two_engines

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/keras-internals.md").read_text(encoding="utf-8")
KERAS, ENGINES = PAGE.split("## Private names of the backends")
ROWS = [line.split("|")[1:-1] for line in KERAS.splitlines() if line.startswith("| `")]
NAMES = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])}
PYTHONS = set(dir(collections.namedtuple("Named", ())))  # public names of Python, such as _replace
FILES = [*sorted((ROOT / "flowkit").rglob("*.py")), ROOT / "flowkit_pytest.py"]
PRIVATE = re.compile(r"_[a-z]\w*")


def keras_names():
    """Every private name of an attribute, a method or an argument in Keras's own source."""
    source = Path(keras.__file__).parent / "src"
    used = re.compile(r"\.(_[a-z]\w+)|def (_[a-z]\w+)\(self|[(, ](_[a-z]\w+)=")
    texts = (path.read_text(encoding="utf-8") for path in source.rglob("*.py"))
    return {name for text in texts for names in used.findall(text) for name in names if name}


def assigned(node):
    """The names that a class has by itself: methods, class attributes, attributes of self."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef):
            yield inner.name
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            if isinstance(inner.value, ast.Name) and inner.value.id == "self":
                yield inner.attr
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id


def classes(path):
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]


def words(path):
    """Attributes that a file reads of anything but torch, keywords, names in text, marks and modules of Keras."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "torch":
            yield node.attr
        elif isinstance(node, ast.keyword):
            yield node.arg or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and node.id.startswith("_keras_"):
            yield node.id


def room(path):
    return path.relative_to(ROOT).parts[:2]


def used():
    """name -> files: what is Keras's, and not defined by a class of the same room or of the contract."""
    known, found = keras_names(), {}
    own = {}
    for path in FILES:
        own.setdefault(room(path), set()).update(name for node in classes(path) for name in assigned(node))
    for path in FILES:
        ours = own[room(path)] | own["flowkit", "contract"]
        for word in words(path):
            private = PRIVATE.fullmatch(word) and word in known - PYTHONS
            if word.startswith(("keras.src", "_keras_")) or (private and word not in ours):
                found.setdefault(word, set()).add(path.relative_to(ROOT).as_posix())
    return found


@functools.cache
def assigned_by_keras(cls):
    return set(assigned(ast.parse(textwrap.dedent(inspect.getsource(cls)))))


def overridden():
    """name -> files: private names of a class of ours that a class of Keras above it has as well."""
    found = {}
    for path in FILES[:-1]:
        module = None
        for node in classes(path):
            private = {name for name in assigned(node) if PRIVATE.fullmatch(name)}
            if not private or not node.bases:
                continue
            module = module or importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            cls = getattr(module, node.name, None)
            for base in inspect.getmro(cls) if cls else ():
                if base.__module__.startswith("keras."):
                    for name in private & assigned_by_keras(base):
                        found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.one_engine
def test_every_private_name_of_keras_that_we_use_is_on_the_page():
    missing = {name: files for name, files in used().items() if name not in NAMES}
    assert missing == {}, "use what is public, or say on docs/keras-internals.md why that is not enough"


@pytest.mark.one_engine
def test_no_class_of_ours_has_a_private_name_of_keras_unless_it_is_on_the_page():
    """By accident, it would take the place of Keras's own."""
    pytest.importorskip("tensorflow")  # our classes for it are read too
    assert {name: files for name, files in overridden().items() if name not in NAMES} == {}


def engine_names(path):
    """The dotted names of an engine in a file with a part that begins with an underscore, or in tensorflow.python."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        for name in names:
            if re.fullmatch(r"(torch|jax|tensorflow)(\.\w+)*\.(_[a-z]|python\.)(\w|\.)+", name):
                yield name


@pytest.mark.one_engine
def test_every_private_name_of_an_engine_is_on_the_page():
    listed = set(re.findall(r"`((?:torch|jax|tensorflow)\.[\w.]+)`", ENGINES))
    found = {name for path in sorted((ROOT / "flowkit/engines").glob("*.py")) for name in engine_names(path)}
    covered = {name for name in found if any(f"{one}.".startswith(f"{name}.") for one in listed)}
    assert found - covered == set()
    assert {one for one in listed if not any(f"{one}.".startswith(f"{name}.") for name in found)} == set()


@pytest.mark.one_engine
def test_every_test_on_the_page_is_there():
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[3])
        assert named, row[0]
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), (file, test)


# ------------------------------------------------------------------ what is assumed of them


class Holder(keras.Layer):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def test_layers_inside_a_layer_are_listed():
    inner = Scale()
    middle = Holder(held=inner)
    outer = Holder(listed=[middle], kept={"a": Scale()}, again=inner)
    assert {id(layer) for layer in outer._flatten_layers()} == {
        id(layer) for layer in (outer, middle, inner, outer.kept["a"])
    }
    assert len(outer._flatten_layers()) == 4
    assert outer not in outer._flatten_layers(include_self=False)
    direct = outer._flatten_layers(include_self=False, recursive=False)
    assert {id(layer) for layer in direct} == {id(middle), id(inner), id(outer.kept["a"])}


def test_an_error_with_the_mark_comes_through_as_it_is():
    def failing(error):
        class Failing(keras.Layer):
            def call(self, x):
                raise error

        with pytest.raises(ValueError, match="expected a") as caught:
            Failing()(np.ones((1, 1), "float32"))
        return caught.value

    given = ContractError("x", "mine", expected="a", received="b")
    assert failing(given) is given
    assert str(failing(ValueError("expected a"))) != "expected a"  # which is why the mark is there


def test_the_state_of_a_seed_generator_is_known_by_its_name():
    dropout = keras.layers.Dropout(0.5)
    assert [variable.name for variable in dropout.variables] == ["seed_generator_state"]


def test_fit_says_when_it_evaluates_its_validation_data():
    said = []

    class Listening(Flow):
        def evaluate(self, *args, **kwargs):
            said.append(kwargs.get("_use_cached_eval_dataset"))
            return super().evaluate(*args, **kwargs)

    x = np.ones((8, 2), "float32")
    flow = Listening(Scale())
    flow.compile("sgd")
    flow.fit(x, validation_data=x, verbose=0)
    flow.evaluate(x, verbose=0)
    assert said == [True, None]


def test_the_guard_knows_the_weights_that_it_was_built_for():
    weight = keras.Variable([1.0, 2.0])
    optimizer = GuardedOptimizer(keras.optimizers.SGD(0.5))
    optimizer.build([weight])
    optimizer.apply([ops.ones(2)])
    assert ops.convert_to_numpy(weight).tolist() == [0.5, 1.5]
