"""`flowkit play` serves this machine alone, and survives browsers that leave or say nothing."""

import http.client
import socket
import threading

import pytest

from flowkit.app.play import Handler, serving


@pytest.fixture
def server(tmp_path):
    (tmp_path / "index.html").write_text("x" * 4_000_000)
    with serving(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def answer(server, host, path="/index.html"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", path, headers={"Host": host})
    return connection.getresponse().status


def test_it_answers_to_names_of_this_machine_alone(server):
    for host in ("localhost", "127.0.0.1", f"127.0.0.1:{server.server_port}", "localhost:9000"):
        assert answer(server, host) == 200
    for host in ("evil.example", f"evil.example:{server.server_port}", "localhost.evil.example", "[", ""):
        assert answer(server, host) == 403


def test_a_silent_connection_is_closed(server, monkeypatch):
    monkeypatch.setattr(Handler, "timeout", 0.05)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as silent:
        assert silent.recv(1) == b""


def test_it_serves_only_what_is_inside_its_folder(server, tmp_path, tmp_path_factory, capfd):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("secret")
    (tmp_path / "link.txt").symlink_to(outside)
    (tmp_path / "folder").symlink_to(outside.parent)
    for path in ("/link.txt", "/folder/secret.txt", "/x%00", "/../secret.txt"):
        assert answer(server, "localhost", path) == 404
    assert capfd.readouterr().err == ""


def test_silent_connections_hold_few_threads(server, monkeypatch):
    monkeypatch.setattr(Handler, "timeout", 60)
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", server.server_port), timeout=20) for _ in range(45)]
    assert [one.recv(1) for one in silent[-10:]] == [b""] * 10
    assert threading.active_count() <= before + 32
    for one in silent:
        one.close()


def test_a_browser_that_leaves_makes_no_traceback(server, monkeypatch, capfd):
    seen = threading.Event()
    handled = type(server).handle_error

    def handle_error(self, *arguments):
        handled(self, *arguments)
        seen.set()

    monkeypatch.setattr(type(server), "handle_error", handle_error)
    leaving = socket.create_connection(("127.0.0.1", server.server_port), timeout=60)
    leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # reset, not closed
    leaving.sendall(b"GET /index.html HTTP/1.0\r\nHost: localhost\r\n\r\n")
    leaving.recv(1)
    leaving.close()
    assert seen.wait(60)
    assert capfd.readouterr().err == ""
