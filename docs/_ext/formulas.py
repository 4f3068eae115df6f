"""Typeset formulas at the beginning of a docstring, which are plain text in the code: z = (x + shift) exp(logs)."""

import re

# A part with one of these is a sentence.
_WORDS = set(
    re.findall(
        r"\w+",
        "a all an and are as at each every exactly for from if in is it its of on one or that the then to with",
    )
)
_EQUATION = re.compile(r"^(?:[A-Za-z]\w?'?(?:_\w)?(?:\([^()]*\))?|log-det) = \S")
_COMMANDS = (
    "exp",
    "log",
    "sum",
    "det",
    "tanh",
    "cosh",
    "cos",
    "sin",
    "max",
    "min",
    "int",
    "alpha",
    "beta",
    "pi",
)


def parts(text):
    """Yield the parts of a sentence between commas, semicolons and colons outside brackets, and what follows each.

    >>> list(parts("z = f(a, b), log-det = 0."))
    [('z = f(a, b)', ', '), ('log-det = 0', '.')]
    """
    depth, start = 0, 0
    for found in re.finditer(r"[(\[]|[)\]]|(?<=\S)[,;:.](?=\s|$)\s?", text):
        depth += found[0] in "([" and 1
        depth -= found[0] in ")]" and 1
        if depth == 0 and found[0] not in "()[]":
            yield text[start : found.start()], found[0]
            start = found.end()
    if start < len(text):
        yield text[start:], ""


def is_formula(part):
    """Return True for an equation of symbols and names."""
    words = re.findall(r"[A-Za-z]{2,}", part)
    return (
        bool(_EQUATION.match(part))
        and "`" not in part
        and not _WORDS & set(words)
        and not re.search(r"\w \w+ \w+$", part)
    )


def as_tex(part):
    r"""Return a formula as TeX.

    >>> as_tex("z = (x + shift) exp(-logs) * x_(i-1)")
    'z = (x + \\mathrm{shift}) \\exp(-\\mathrm{logs}) \\, x_{i-1}'
    """
    part = (
        part.replace("log-det", "\\log\\det")
        .replace("...", "\\dots")
        .replace("->", "\\to")
        .replace(" o ", " \\circ ")
    )
    part = re.sub(r"([_^])\(([^()]*)\)", r"\1{\2}", part)
    part = re.sub(r"\^(-\w)", r"^{\1}", part).replace(" * ", " \\, ").replace("*", "\\,")
    part = re.sub(r"\b([a-z]{2,})_([a-z]{2,})\b", r"\\mathrm{\1\\_\2}", part)  # a name such as log_scale
    for name in _COMMANDS:
        part = re.sub(rf"(?<![\\\w{{]){name}(?![a-zA-Z])", rf"\\{name}", part)
    return re.sub(r"(?<![\\a-zA-Z{])(?<!\\_)([A-Za-z]{2,})", r"\\mathrm{\1}", part)


def typeset(text):
    """Return a sentence whose formulas are math roles of reStructuredText, and its other parts as they are.

    >>> typeset("z = |x|, from the line.")
    [(True, ':math:`z = |x|`'), (False, ', '), (False, 'from the line'), (False, '.')]
    """
    found = []
    for part, end in parts(text):
        formula = is_formula(part)
        found += [(formula, f":math:`{as_tex(part)}`" if formula else part), (False, end)]
    return [(formula, part) for formula, part in found if part]
