"""What is public is on the pages of the API, and the pages' blocks are read as cells."""

import doctest
import importlib.util
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


@pytest.fixture(autouse=True)
def extensions_import_each_other(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_ext")


def extension(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_docstring_is_the_same_in_restructured_text():
    lines = ["z = |x| * f(a_, b), `f` for", "each:", "- `one`s", ">>> 2 * x_", "3", "", "`Args` end."]
    extension("docstrings").rewrite(None, "class", "name", None, None, lines)
    assert lines == [
        r"z = \|x\| \* f(a\_, b), ``f`` for",
        "each:",
        "",
        r"- ``one``\ s",
        ">>> 2 * x_",
        "3",
        "",
        "``Args`` end.",
        "",
    ]


def test_formulas_of_a_first_sentence_are_typeset():
    assert doctest.testmod(importlib.import_module("formulas")) == (0, 3)
    assert extension("docstrings").sentence("z = x exp(log_scale): `x` for a_.") == (
        r":math:`z = x \exp(\mathrm{log\_scale})`: ``x`` for a\_."
    )


def test_every_python_block_is_a_cell():
    app = type("App", (), {"config": type("Config", (), {"pages_without_cells": {"quoted": "why"}})})
    page = "# Page\n\n```python\n1 + 1\n```\n\n```py\nread\n```\n"
    source = [page]
    extension("cells").as_notebook(app, "page", source)
    assert source[0].count("{code-cell}") == 1
    assert source[0].startswith("---\nfile_format: mystnb\n")
    source = [page]
    extension("cells").as_notebook(app, "quoted", source)
    assert source == [page]


def test_a_cell_that_fails_ends_the_build_and_none_is_remembered():
    conf = (DOCS / "conf.py").read_text(encoding="utf-8")
    for line in ('nb_execution_mode = "force"', "nb_execution_raise_on_error = True"):
        assert f"\n{line}" in conf
    assert 'mathjax_path = "mathjax/tex-svg.js"' in conf  # no network to draw a formula
    assert (DOCS / "_static" / "mathjax" / "tex-svg.js").stat().st_size > 1_000_000
    recipe = (
        (DOCS.parent / "Makefile")
        .read_text(encoding="utf-8")
        .split("\ndocs: $(DOCS)", 1)[1]
        .split("\n\n", 1)[0]
    )
    assert "--fail-on-warning" in recipe


def test_home_has_five_doors_and_the_gallery_sixteen_pictures():
    home = (DOCS / "index.md").read_text(encoding="utf-8")
    doors = re.findall(r"grid-item-card\} (.+)\n:link: (\S+)", home)
    assert [page for _, page in doors] == [
        "own-tables",
        "own-images",
        "posteriors",
        "write-a-bijector",
        "play",
    ]
    assert all((DOCS / f"{page}.md").is_file() for _, page in doors)
    assert len(list((DOCS / "pictures").glob("plot_*.py"))) >= 16


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


def test_code_on_pages_fits_a_narrow_window():
    wide = {}
    for path in [DOCS.parent / "README.md", *DOCS.glob("*.md"), *DOCS.glob("[!_]*/*.md")]:
        code = r"^```(?:python|py|bash|toml|\{code-cell\} python)\n(.*?)^```"
        for block in re.findall(code, path.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            if lines := [line for line in block.splitlines() if len(line) > 88]:
                wide[path.name] = lines
    assert wide == {}
