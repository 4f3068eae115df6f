"""pydantic's complaints in the recipe's own terms: file, line, key, expected, received."""

import re

from flowkit.contract.arguments import shown
from flowkit.recipes.schema import RecipeError, did_you_mean


def explained(error, model, prefix, tables, where, text, labels):
    """The first of pydantic's complaints as one line in the recipe's own terms."""
    errors = error.errors(include_url=False)
    paths = [_path(prefix, e) for e in errors]
    # A misspelt key is often why another is missing: it comes first.
    first = min(range(len(errors)), key=lambda i: errors[i]["type"] != "extra_forbidden")
    path, kind = paths[first], errors[first]["type"]
    key, value = ".".join(part[:80] for part in path), _at(tables, path)
    if kind == "extra_forbidden":
        what = "is not a table" if len(path) == 1 else f"is not a key of [{path[0]}]"
        message = f"{key} {what}{did_you_mean(path[-1], _names(model, path, prefix))}"
    elif kind == "missing":
        message = f"{key} is missing"
    elif kind == "value_error":
        message = f"{key}: {errors[first]['ctx']['error']}"
    else:
        alternatives = [e for e, p in zip(errors, paths, strict=True) if p == path]
        expected = " or ".join(dict.fromkeys(_worded(e["msg"]) for e in alternatives))
        message = f"{key}: expected {expected}, received {shown(value)} ({_kind(value)})"
    others = len(set(paths)) - 1
    more = f" (and {others} more)" if others else ""
    return RecipeError(f"{place_of(where, text, path, labels)}: {message}{more}")


def _path(prefix, error):
    # Beyond table and key, pydantic names members of unions and positions in lists.
    return tuple(str(part) for part in [*prefix, *error["loc"]][:2])


_KINDS = {
    int: "whole number",
    float: "number",
    str: "string",
    bool: "true or false",
    list: "list",
    dict: "table",
}


_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "list": "a list",
    "dictionary": "a table",
}


def _worded(message):
    expected = re.sub(r"^Input should be (a valid )?", "", message)
    # 1e+38 has many digits.
    expected = re.sub(r"(?<![\d.])\d{12,}", lambda number: f"{float(number[0]):g}", expected)
    return _WORDS.get(expected, expected)


def _kind(value):
    return _KINDS.get(type(value), "date or time")


def _names(model, path, prefix):
    if prefix or len(path) == 1:
        return list(model.model_fields)
    return list(model.model_fields[path[0]].annotation.model_fields)


def _at(tables, path):
    value = tables
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def place_of(where, text, path, labels=None):
    """`file:line` of a key, or of the table it is missing from, or the override that set it."""
    if labels and path in labels:
        return labels[path]
    table, best, found = (), 0, None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = here = tuple(part.strip(" \"'") for part in header[1].split("."))
        elif key := re.match(r"\s*([\w.\"' -]+?)\s*=", line):
            here = table + tuple(part.strip(" \"'") for part in key[1].split("."))
        else:
            continue
        if best < len(here) and here == path[: len(here)]:
            best, found = len(here), number
    return where if found is None else f"{where}:{found}"
