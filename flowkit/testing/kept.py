"""Answers of a method that are kept with its object."""

import functools


def kept(method):
    """Make a method compute its answer once for each object and arguments.

    >>> class Squares:
    ...     @kept
    ...     def of(self, number):
    ...         print("computing")
    ...         return number**2
    >>> squares = Squares()
    >>> squares.of(3), squares.of(3)
    computing
    (9, 9)
    """
    return functools.cached_property(lambda owner: functools.cache(functools.partial(method, owner)))
