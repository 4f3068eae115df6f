"""A pickle read as plain data: no class is looked up, no object of NumPy's is in reach of its opcodes.

`pickle.Unpickler` lets a file call methods of what `find_class` returns, write into it and set its state. Here a
global is only its name; what it builds are the stand-ins that `calls` makes, and those check what they are given.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

MOST_STEPS = 250_000  # a batch of CIFAR-10 takes 30,000 to 120,000; one byte can make an object of 64

_PUSH_THE_ARGUMENT = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
_TEXT_OF_PYTHON_2 = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_MARK = object()


class ForbiddenError(Exception):
    """The pickle asks for something that is not plain data."""


@dataclass(frozen=True)
class Global:
    """A global of the pickle: its module and name, nothing more."""

    name: str


def read_pickle(file: BinaryIO, calls: Mapping[str, Callable | None]) -> Any:
    """The object in a pickle of protocols 0 to 5, made of lists, tuples, dicts, numbers, text and stand-ins.

    `calls` names the globals that may occur, as "module.name", each with the function that stands in for a call
    of it, or None. A stand-in whose state a pickle may set has a method `set_state`. Text of Python 2 is bytes.

    Raises ForbiddenError for anything else that the pickle asks for, ValueError if it is damaged.

    >>> import io, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"a": (1, [b"2"])})), {})
    {'a': (1, [b'2'])}
    """
    machine = _Machine(calls)
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if step == MOST_STEPS:
            raise ValueError(f"more than {MOST_STEPS:,} steps")
        machine.step(opcode.name, argument)
    return machine.pop()


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, calls):
        self.calls = calls
        self.stack = []
        self.memo = {}

    def step(self, name, argument):
        if name in _PUSH_THE_ARGUMENT:
            self.stack.append(argument)
        elif name in _TEXT_OF_PYTHON_2:
            self.stack.append(argument.encode("latin-1"))
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        else:
            self._act(name, argument)

    def _act(self, name, argument):
        stack = self.stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "POP_MARK":
                self.pop_to_mark()
            case "POP":
                if not stack:
                    raise ValueError("an empty stack")
                stack.pop()
            case "DUP":
                stack.append(self.top())
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top()
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top()
            case "GET" | "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise ValueError("a reference to nothing")
                stack.append(self.memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(reversed([self.pop() for _ in range(int(name[-1]))])))
            case "TUPLE":
                stack.append(tuple(self.pop_to_mark()))
            case "LIST":
                stack.append(self.pop_to_mark())
            case "DICT":
                items = self.pop_to_mark()
                stack.append({})
                self.set_items(items)
            case "APPEND" | "APPENDS":
                items = [self.pop()] if name == "APPEND" else self.pop_to_mark()
                self.top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                self.set_items(self.pop_to_mark() if name == "SETITEMS" else [self.pop(), self.pop()][::-1])
            case "GLOBAL":
                self.push_global(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                name, module = self.pop(), self.pop()
                self.push_global(
                    f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""
                )
            case "REDUCE":
                self.reduce()
            case "BUILD":
                state = self.pop()
                set_state = getattr(self.top(), "set_state", None)
                if set_state is None:
                    raise ForbiddenError("the state of an object")
                set_state(state)
            case _:
                raise ForbiddenError(f"the opcode {name}")

    def top(self, kind=object):
        """The last object, of this very type."""
        if not self.stack or self.stack[-1] is _MARK or not (kind is object or type(self.stack[-1]) is kind):
            raise ValueError(f"a stack without the {kind.__name__} that was expected")
        return self.stack[-1]

    def pop(self):
        self.top()
        return self.stack.pop()

    def pop_to_mark(self):
        items = []
        while self.stack:
            item = self.stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise ValueError("a mark that is missing")

    def set_items(self, items):
        keys, values = items[::2], items[1::2]
        # Hashing tuples of tuples of the same tuples would take for ever.
        if len(keys) != len(values) or not all(isinstance(key, str | bytes | int) for key in keys):
            raise ValueError("items that are no pairs of a name and a value")
        self.top(dict).update(zip(keys, values, strict=True))

    def push_global(self, name):
        if name not in self.calls:
            raise ForbiddenError(name or "a name that is no text")
        self.stack.append(Global(name))

    def reduce(self):
        arguments, function = self.pop(), self.pop()
        call = self.calls.get(function.name) if isinstance(function, Global) else None
        if call is None or not isinstance(arguments, tuple):
            raise ForbiddenError(f"a call of {getattr(function, 'name', type(function).__name__)}")
        try:
            self.stack.append(call(*arguments))
        except TypeError:
            raise ValueError(f"other arguments than {function.name} takes") from None
