"""Run every ```python block of a page as a notebook cell when the documentation is built.

Pages stay plain Markdown, and a block that fails ends the build. Blocks that must not run begin with ```py. Pages that
are notebooks already stay unchanged.
"""

import re

HEADER = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n  display_name: Python 3\n  language: python\n---\n"
_BLOCK = re.compile(r"^```python$", re.MULTILINE)


def as_notebook(app, name, source):
    page = source[0]
    if name in app.config.pages_without_cells or page.startswith("---") or not _BLOCK.search(page):
        return
    source[0] = HEADER + _BLOCK.sub("```{code-cell} python", page)


def setup(app):
    app.add_config_value("pages_without_cells", {}, "env")
    app.connect("source-read", as_notebook)
    return {"parallel_read_safe": True}
