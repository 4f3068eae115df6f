"""`flowkit play`: a page on which a flow runs in the browser, written, or served from this machine to itself."""

import functools
import http.server
import re
import sys
import tempfile
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from flowkit.app.backend import use
from flowkit.app.failure import CommandError
from flowkit.app.options import Backend, Data, Run

_HOSTS = ("localhost", "127.0.0.1")


def play(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder to write, for any server. Default: serve it at once.", file_okay=False),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to serve it; 0 takes a free one.")
    ] = 8000,
    ort: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="onnxruntime-web/dist. Default: download."
        ),
    ] = None,
    data: Data = None,
    backend: Backend = None,
):
    """Make a page on which the flow runs in the browser: mix images, move latents, read log p."""
    use(backend)
    from flowkit import play
    from flowkit.app.images import Images
    from flowkit.app.trained import data_of, trained

    folder = trained(run)
    flow, recipe = folder.load_flow(), folder.recipe()
    if flow.dequantize is None:
        raise CommandError(f"{run}: expected a flow of stored images, got one of tables or continuous values")
    train, test = (data_of(folder, flow, split, data) for split in ("train", "test"))
    for dataset in (train, test):
        Images().given(flow, dataset)  # raises for images of another kind
    temperature = 0.7 if recipe is None else recipe.sampling.temperature
    # Not with the folders of this machine: others may see the page.
    name = Path(run).name if Path(run).is_absolute() else run
    write = functools.partial(
        play.write_page, flow, train=train, test=test, name=name, temperature=temperature, ort=ort
    )
    if out is not None:
        print(f"page {write(out) / 'index.html'}  (for any static server: python -m http.server -d {out})")
        return
    with tempfile.TemporaryDirectory() as place, serving(write(Path(place) / "page"), port) as server:
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
        raise CommandError(f"--port: {port} is not free ({error.strerror}): 0 takes a free one") from error


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
