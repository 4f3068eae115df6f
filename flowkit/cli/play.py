"""`flowkit play`: a page on which a flow runs in the browser, written or served from this machine to itself."""

import functools
import http.server
import re
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from flowkit import data, recipes
from flowkit.cli.evaluate import check_fits
from flowkit.cli.failure import CommandError
from flowkit.cli.trained import trained
from flowkit.play import write_page

_HOSTS = ("localhost", "127.0.0.1")


def run(path, *, out, port, ort, source):
    folder = trained(path)
    train, test, temperature = _data(folder, source)
    flow = folder.load_flow()
    if flow.dequantize is None:
        raise CommandError(
            f"{path}: expected a flow of images, received one of tables or of continuous values"
        )
    check_fits(flow, test)
    make = functools.partial(
        write_page, flow, train=train, test=test, name=_shown(path), temperature=temperature, ort=ort
    )
    if out is not None:
        print(f"page {make(out) / 'index.html'}  (for any static server: python -m http.server -d {out})")
        return
    with tempfile.TemporaryDirectory() as place:
        serve(make(Path(place) / "page"), port)


def _shown(name):
    """What the page calls the flow, without the folders of this machine: others may be given the page."""
    return Path(name).name if Path(name).is_absolute() else name


def _data(folder, source):
    """(training images, test images, the temperature of samples)."""
    if not folder.has_recipe():
        if source is None:
            raise CommandError(
                "--data: a flow alone does not say what images it is of: expected their name or path"
            )
        return data.load(source, "train"), data.load(source, "test"), 0.7
    recipe = folder.recipe(source)
    if recipes.of_tables(recipe):
        raise CommandError("the flow is one of tables: expected one of images")
    temperature = recipe.sampling.temperature
    return (
        recipes.load_data(recipe, "train"),
        recipes.load_data(recipe, "test"),
        max(temperature) if isinstance(temperature, list) else temperature,
    )


def serve(folder, port):
    """Serve a folder to this machine alone, until Ctrl-C."""
    with serving(folder, port) as server:
        print(f"play http://127.0.0.1:{server.server_port}/  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def serving(folder, port):
    """Return a server of the files in `folder` at `port` of this machine."""
    try:
        return Server(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    except OSError as error:
        raise CommandError(f"--port: {port} cannot be had ({error.strerror}): 0 takes a free one") from error


class Server(http.server.ThreadingHTTPServer):
    """A server that prints nothing when a browser closes a connection."""

    def handle_error(self, request, client_address):
        """Print a traceback of errors other than those of the connection."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with types that browsers insist on, for pages of this machine alone."""

    timeout = 30  # seconds without a byte, then the connection is closed

    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def send_head(self):
        """Answer 403 to a request by another host name: a foreign name may be pointed at this machine."""
        if re.sub(r":\d+$", "", self.headers.get("Host", "")) not in _HOSTS:
            self.send_error(http.HTTPStatus.FORBIDDEN, "expected localhost or 127.0.0.1 as the host")
            return None
        return super().send_head()

    def end_headers(self):
        """Another page may be served at the same address next time."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_):
        """Nothing: the terminal is for the address."""
