"""Find the hooks that receive `derived=`, the values that depend on weights alone."""

import inspect


def goes_with(layer_class: type, name: str, hook: str) -> bool:
    """Return True if an attribute is defined in the class that defines the hook, or below.

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


def takes_derived(layer_class: type, hook: str) -> bool:
    """Return True if a hook receives `derived=`: it was written with `_derive`, or declares the argument."""
    declares = "derived" in inspect.signature(getattr(layer_class, hook)).parameters
    return goes_with(layer_class, "_derive", hook) or (declares and hasattr(layer_class, "_derive"))
