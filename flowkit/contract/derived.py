"""What depends on a layer's weights alone, and need not be computed for each batch: who says so, who is given it."""

from typing import Any


def takes_derived(layer_class: type, hook: str) -> bool:
    """Whether a hook of a class takes `derived=`: `_derive` is defined in the class that defines the hook, or below.

    So a subclass whose hook is of its own, and takes none, is given none.
    """
    return goes_with(layer_class, "_derive", hook)


def goes_with(layer_class: type, name: str, hook: str) -> bool:
    """Whether an attribute is defined in the class that defines the hook, or below: so it was written knowing it.

    >>> class Parent:
    ...     def call(self): ...
    ...     twin = call
    >>> class Child(Parent):
    ...     def call(self): ...
    >>> goes_with(Parent, "twin", "call"), goes_with(Child, "twin", "call")
    (True, False)
    """
    for owner in layer_class.__mro__:
        if name in vars(owner):
            return True
        if hook in vars(owner):
            return False
    return False


def as_keyword(derived: Any) -> dict[str, Any]:
    """Return `derived` as a keyword, or no keyword for None."""
    return {} if derived is None else {"derived": derived}
