"""Convert docstrings, plain text with `code`, lists and doctests, to reStructuredText for Sphinx."""

import re

from formulas import typeset

_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_SPECIAL = re.compile(r"[\\*|]|(?<=\w)_(?!\w)")
_ITEM = re.compile(r"^\s*(?:-|\d+\.) ")


def as_rst(text):
    """Turn `code` into a literal and escape accidental markup."""
    parts, end = [], 0
    for code in _CODE.finditer(text):
        before, after = text[: code.start()][-1:], text[code.end() :][:1]
        parts.append(_SPECIAL.sub(r"\\\g<0>", text[end : code.start()]))
        literal = f"``{code[2].strip()}``"
        parts.append(("\\ " if before.isalnum() else "") + literal + ("\\ " if after.isalnum() else ""))
        end = code.end()
    return "".join(parts) + _SPECIAL.sub(r"\\\g<0>", text[end:])


def sentence(text):
    """Return the first sentence of a docstring, with its formulas typeset."""
    return "".join(part if formula else as_rst(part) for formula, part in typeset(" ".join(text.split())))


def blocks(lines):
    """Yield the blocks of lines between blank lines."""
    block = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []


def with_lists_apart(lines):
    """Insert a blank line before a list that directly follows a sentence."""
    for i, line in enumerate(lines):
        if i and _ITEM.match(line) and not any(_ITEM.match(above) for above in lines[:i]):
            yield ""
        yield line


def rewrite(app, kind, name, thing, options, lines):
    new = []
    for number, block in enumerate(blocks(lines)):
        example = next((i for i, line in enumerate(block) if line.lstrip().startswith(">>>")), len(block))
        if example:
            text = "\n".join(with_lists_apart(block[:example]))
            plain = number or any(map(_ITEM.match, block[:example]))
            new += (as_rst(text) if plain else sentence(text)).split("\n")
        new += [*block[example:], ""]
    lines[:] = new


def setup(app):
    # Run before napoleon reads `Args:` and other sections.
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    return {"parallel_read_safe": True}
