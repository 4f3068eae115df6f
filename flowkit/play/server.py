"""Serve a page to browsers on this machine alone."""

import functools
import http.server
import re
import sys
from pathlib import Path
from typing import ClassVar

_HOSTS = ("localhost", "127.0.0.1")


def serving(folder: Path, port: int) -> "Server":
    """Return a server of the files in `folder` at `port` of this machine. Raises ValueError if the port is not free."""
    try:
        return Server(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    except OSError as error:
        raise ValueError(f"--port: {port} is not free ({error.strerror}): 0 takes a free one") from error


class Server(http.server.ThreadingHTTPServer):
    """A server that prints nothing when a browser closes a connection."""

    def handle_error(self, request, client_address):
        """Print a traceback of errors other than those of the connection."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with types that browsers insist on, for pages of this machine alone."""

    timeout = 30  # seconds without a byte, then the connection is closed
    extensions_map: ClassVar = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def send_head(self):
        """Answer 403 to a request by another host name: a foreign name may be pointed at this machine."""
        if re.sub(r":\d+$", "", self.headers.get("Host", "")) not in _HOSTS:
            self.send_error(http.HTTPStatus.FORBIDDEN, "expected localhost or 127.0.0.1 as the host")
            return None
        return super().send_head()

    def log_message(self, *_):
        """Print nothing: the terminal is for the address."""
