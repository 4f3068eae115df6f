"""`flowkit play`: a page on which a flow runs in the browser, written, or served from this machine to itself."""

import functools
import http.server
import re
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any, ClassVar

from typer import Option

from flowkit.app.backend import use
from flowkit.app.commands import Backend, Data, Run, Source, new_folder, one_of_both
from flowkit.app.failure import progress
from flowkit.app.preset import without_folder

_CONNECTIONS = 32  # at once: a browser opens six
_HOSTS = ("localhost", "127.0.0.1")
_BEST, _ITS_DATA = "glow/fashion-mnist-full", "fashion-mnist"  # some of the images that come with flowkit


def play(
    run: Run = _BEST,
    data: Source = None,
    data_: Data = None,
    output: Annotated[
        Path | None, new_folder("A folder to write, for any server. Default: serve it at once.", "--out")
    ] = None,
    port: Annotated[int, Option(min=0, max=65535, help="Where to serve it; 0 takes a free one.")] = 8000,
    ort: Annotated[
        Path | None,
        Option(metavar="DIR", exists=True, file_okay=False, help="onnxruntime-web/dist. Default: download."),
    ] = None,
    backend: Backend = None,
):
    """Make a page on which the flow runs in the browser: mix images or scale draws, move latents, read log p."""
    data = one_of_both(data, data_, "data")
    use(backend)
    from flowkit import play
    from flowkit.app.tables import Tables
    from flowkit.app.trained import data_of, kind_of_flow, loaded
    from flowkit.flow.export import require

    require("onnx")
    folder, flow = loaded(run)
    recipe = folder.recipe()
    if run == _BEST and data is None:
        data = _ITS_DATA
    train, test = (data_of(folder, flow, split, data) for split in ("train", "test"))
    kind = kind_of_flow(flow, run)
    for dataset in (train, test):
        kind.given(flow, dataset)  # raises for data of another kind
    if isinstance(kind, Tables):
        test = kind.ordered(flow, test)
    temperature = 0.7 if recipe is None else recipe.sampling.temperature
    name = without_folder(run)  # others may see the page
    progress(f"exporting {name} to ONNX and reading its data, which takes a minute or so")
    write = functools.partial(
        play.write_page, flow, train=train, test=test, name=name, temperature=temperature, ort=ort
    )
    if output is not None:
        page = write(output) / "index.html"
        print(f"page {page}  (for any static server: python -m http.server -d {output})")
        return
    with tempfile.TemporaryDirectory() as place, serving(write(Path(place) / "page"), port) as server:
        print(f"play http://127.0.0.1:{server.server_port}/  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def serving(folder: Path, port: int) -> "Server":
    """Return a server of the files in `folder` at `port` of this machine. Raises ValueError if the port is not free."""
    try:
        return Server(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    except OSError as error:
        raise ValueError(f"--port: {port} is not free ({error.strerror}): 0 takes a free one") from error


class Server(http.server.ThreadingHTTPServer):
    """A server of at most 32 connections at once that prints nothing when a browser closes one."""

    def __init__(self, *args: Any) -> None:
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request, client_address):
        """Close a connection at once while there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        """Handle one connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request, client_address):
        """Print a traceback of errors other than those of the connection."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with types that browsers insist on, for pages of this machine alone."""

    timeout = 5  # seconds without a byte, then the connection is closed
    extensions_map: ClassVar = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def send_head(self):
        """Answer 403 to a request by another host name: a foreign name may be pointed at this machine."""
        if re.sub(r":\d+$", "", self.headers.get("Host", "")) not in _HOSTS:
            self.send_error(http.HTTPStatus.FORBIDDEN, "expected localhost or 127.0.0.1 as the host")
            return None
        if not self._inside():
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _inside(self):
        """Return True if the request's path leads to a place inside the folder, also through links."""
        try:
            return (
                Path(self.translate_path(self.path)).resolve().is_relative_to(Path(self.directory).resolve())
            )
        except ValueError:  # a null character
            return False

    def log_message(self, *_):
        """Print nothing: the terminal is for the address."""
