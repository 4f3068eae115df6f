"""What is public is on the pages of the API, and the pages' blocks are read as cells."""

import posixpath
import re
from pathlib import Path

import pytest

import flowkit

pytestmark = pytest.mark.one_engine

DOCS = Path(__file__).parents[1] / "docs"
API = "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "api").glob("*.md")))


def test_every_public_name_has_a_page():
    """Its room's page names the room, all of whose names get a page, or the name."""
    found = re.findall(r"^```\{room\} (\S+)((?: \S+)*)$", API, re.MULTILINE)
    rooms = {room for room, names in found if not names}
    assert {f"flowkit.{name}" for name, home in flowkit._PUBLIC.items() if home is None} - rooms == set()
    single = {name for name, home in flowkit._PUBLIC.items() if home is not None and home not in rooms}
    assert single - {name for _, names in found for name in names.split()} == set()


def links(page):
    """Return the pages that a page links to: in its toctrees, on cards and in its text."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    toctrees = "".join(re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    listed = re.findall(r"^[^:\s].*$", toctrees, re.MULTILINE)
    cards = re.findall(r"^:link: (\S+)$", text, re.MULTILINE)
    here = posixpath.dirname(page)
    inline = [posixpath.join(here, link) for link in re.findall(r"\]\(([\w./-]+)\.md", text)]
    return {posixpath.normpath(link) for link in [*listed, *cards, *inline]}


def test_every_page_is_within_two_links_of_home():
    """The toctree of a room's page lists those of its names, and the gallery's those of its pictures."""
    folders = [DOCS, *DOCS.glob("[!_]*/")]
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for f in folders for path in f.glob("*.md")}
    near = links("index")
    second = {link for page in near & pages for link in links(page)}
    assert pages - {"index"} - near - second == set()


def test_the_lines_of_home_run(capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", (DOCS / "index.md").read_text("utf-8"), flags=re.DOTALL)
    exec(lines, {})  # the page's own code
    assert "back exactly: True" in capsys.readouterr().out
