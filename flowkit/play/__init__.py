"""A page on which a flow of images or vectors runs in the browser: a folder of plain files, for any static server."""

from flowkit.play.folder import write_page

__all__ = ["write_page"]
