"""For mkdocs: doctest examples within a docstring's text become code blocks on the API pages."""

import re

import griffe

# From `>>>` to the next blank line; the first group is the indentation.
_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)


class DoctestBlocks(griffe.Extension):
    """Put a fence around each example."""

    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(r"\1```pycon\n\g<0>\n\1```", obj.docstring.value)
