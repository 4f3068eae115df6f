"""Replace `{card} glow` on a page by the model card zoo/glow/README.md.

Links to other cards lead to their pages, zoo/glow-digits for zoo/glow/digits.
The header for model hubs is left out, and code is shown but not run, because it names files of the reader.
"""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CARD = re.compile(r"^```\{card\} (\S+)\n```$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
_FOR_HUBS = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def expand(app, name, source):
    here = posixpath.join("docs", posixpath.dirname(name))

    def card(found):
        folder = posixpath.join("zoo", found[1])
        text = _FOR_HUBS.sub("", (ROOT / folder / "README.md").read_text(encoding="utf-8"))
        text = text.replace("```python", "```py")
        return _LINK.sub(lambda link: "](" + posixpath.relpath(_target(folder, link[1]), here), text)

    source[0] = _CARD.sub(card, source[0])


def _target(folder, link):
    target = posixpath.normpath(posixpath.join(folder, link))
    kind, _, model = posixpath.dirname(target).removeprefix("zoo/").partition("/")
    if target.startswith("zoo/") and posixpath.basename(target) == "README.md":
        return f"docs/zoo/{kind}{'-' if model else ''}{model}.md"
    return target


def setup(app):
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
