"""`{card} glow` on a page becomes the model card zoo/glow/README.md, its links as seen from the documentation."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CARD = re.compile(r"^```\{card\} (\S+)\n```$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def expand(app, name, source):
    here = posixpath.join("docs", posixpath.dirname(name))

    def card(found):
        folder = posixpath.join("zoo", found[1])

        def seen_from_here(link):
            target = posixpath.normpath(posixpath.join(folder, link[1]))
            return "](" + posixpath.relpath(target, here)

        return _LINK.sub(seen_from_here, (ROOT / folder / "README.md").read_text(encoding="utf-8"))

    source[0] = _CARD.sub(card, source[0])


def setup(app):
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
