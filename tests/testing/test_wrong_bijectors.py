"""A wrong bijector stays wrong: what it overrides is still there to be overridden."""

import ast
import inspect
import textwrap

import pytest

from tests.testing.wrong_bijectors import WRONG

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize("mistake", WRONG, ids=str)
def test_what_it_overrides_exists(mistake):
    layer = mistake.case.make()
    classes = type(layer).__mro__
    for cls, name in overrides(type(layer)):
        inherited = any(name in vars(base) for base in classes[classes.index(cls) + 1 :])
        assert inherited or name in read_by(type(layer)), (
            f"{cls.__name__}.{name} overrides nothing, and nothing reads it: was a method of its base renamed?"
        )


def test_a_renamed_method_is_found():
    class Base:
        def renamed(self):
            return self.kept

    class Disarmed(Base):
        kept = 1

        def original(self):
            return super().original()

    assert [name for _, name in overrides(Disarmed, module=__name__)] == ["kept", "original", "renamed"]
    assert read_by(Disarmed, module=__name__) == {"kept"}


def overrides(cls, module="tests.testing.wrong_bijectors"):
    """(class, name) of what the classes of the wrong bijectors, from `cls` up, define."""
    for base in cls.__mro__:
        if base.__module__.startswith(module):
            for name, value in vars(base).items():
                if not name.startswith("__") and not inspect.isbuiltin(value) and name != "_abc_impl":
                    yield base, name


def read_by(cls, module="tests.testing.wrong_bijectors"):
    """Names of attributes that the classes read outside the definition of that very name."""
    found = set()
    for base in cls.__mro__:
        if base.__module__.startswith(module):
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
            for item in tree.body[0].body:
                names = {node.attr for node in ast.walk(item) if isinstance(node, ast.Attribute)}
                found |= names - {getattr(item, "name", None)}
    return found
