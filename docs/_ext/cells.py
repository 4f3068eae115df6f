"""Run every ```python block of a page as a notebook cell when the documentation is built.

Pages stay plain Markdown, and a block that fails ends the build. Blocks that must not run begin with ```py, and those
that import JAX run on JAX alone. Pages that are notebooks already stay unchanged.
"""

import os
import re

HEADER = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n  display_name: Python 3\n  language: python\n---\n"
_BLOCK = re.compile(r"^```python$(.*?^```$)", re.MULTILINE | re.DOTALL)


def as_notebook(app, name, source):
    page = source[0]
    if name in app.config.pages_without_cells or page.startswith("---") or not _BLOCK.search(page):
        return
    source[0] = HEADER + _BLOCK.sub(_as_cell, page)


def _as_cell(block):
    runs = os.environ["KERAS_BACKEND"] == "jax" or "import jax" not in block[1]
    return f"```{{code-cell}} python{block[1]}" if runs else block[0]


def setup(app):
    app.add_config_value("pages_without_cells", {}, "env")
    app.connect("source-read", as_notebook)
    return {"parallel_read_safe": True}
