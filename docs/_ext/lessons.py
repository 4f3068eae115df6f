"""Write each page of docs/lessons as a notebook for Jupyter and Colab too, and link to it below the title.

A notebook begins with a cell that installs flowkit from the repository's address in pyproject.toml.
"""

import json
import posixpath
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
_HEADER = re.compile(r"\A---\n.*?^---\n", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_FOLDED = ":tags: [hide-cell]\n"
_TITLE = re.compile(r"^# .*\n", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")

_INSTALL = f"""\
import importlib.util

if importlib.util.find_spec("flowkit") is None:  # as in Colab
    %pip install -q "keras-flowkit[jax,testing] @ git+{_ADDRESS}" matplotlib scikit-learn"""

_DOWNLOAD = """
```{{raw}} html
<p><a href="{name}" download>Download this lesson as a notebook</a> for Jupyter, or for Colab:
  choose <i>File</i> and <i>Upload notebook</i> there.</p>
```
"""


def notebook(page):
    """Return the text of a page as a notebook, nbformat 4.5."""
    cells = [_code_cell(_INSTALL)]
    for k, part in enumerate(_CELL.split(_HEADER.sub("", page))):
        if k % 2:
            cells.append(_code_cell(part))
        elif part.strip():
            text = _LINK.sub(_absolute, part).strip()
            cells.append({"cell_type": "markdown", "metadata": {}, "source": text})
    for k, cell in enumerate(cells):
        cell["id"] = f"cell-{k}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _absolute(link):
    return f"]({_ADDRESS}/blob/main/{posixpath.normpath(f'docs/lessons/{link[1]}')})"


def _code_cell(code):
    """Return a code cell; fold a solution, as pages do."""
    source, metadata = code.replace(_FOLDED, "# @title A solution\n").strip(), {}
    if _FOLDED in code:
        metadata = {"cellView": "form", "jupyter": {"source_hidden": True}}
    about = {"cell_type": "code", "outputs": [], "execution_count": None}
    return about | {"metadata": metadata, "source": source}


def link(app, page, source):
    if page.startswith("lessons/"):
        line = _DOWNLOAD.format(name=f"{Path(page).name}.ipynb")
        source[0] = _TITLE.sub(lambda title: title[0] + line, source[0], count=1)


def write(app, error):
    if error is None and app.builder.format == "html":
        for page in sorted((ROOT / "docs" / "lessons").glob("*.md")):
            book = json.dumps(notebook(page.read_text("utf-8")), indent=1, ensure_ascii=False)
            (Path(app.outdir) / "lessons" / f"{page.stem}.ipynb").write_text(book, "utf-8")


def setup(app):
    app.connect("source-read", link)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
