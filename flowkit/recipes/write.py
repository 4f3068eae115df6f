"""TOML out: `tomllib` only reads."""

import re
from typing import Any

from flowkit.recipes.schema import Recipe


def dumps(tables: Recipe | dict[str, Any]) -> str:
    """The text of a recipe (or of plain tables); `tomllib.loads(dumps(tables)) == tables`.

    >>> print(dumps({"training": {"learning_rate": 1e-05, "optimizer": "adam"}}), end="")
    [training]
    learning_rate = 1e-05
    optimizer = "adam"
    """
    if isinstance(tables, Recipe):
        tables = tables.tables()
    blocks = []
    for name, table in tables.items():
        lines = [f"{_toml(key)} = {_toml_value(value)}\n" for key, value in table.items()]
        blocks.append(f"[{_toml(name)}]\n{''.join(lines)}")
    return "\n".join(blocks)


def _toml(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_string(key)


def _toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(key)} = {_toml_value(entry)}' for key, entry in value.items())}}}"
    raise TypeError(f"TOML has no {type(value).__name__}: received {value!r}.")


def _toml_string(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\u{ord(c[0]):04x}", escaped) + '"'
