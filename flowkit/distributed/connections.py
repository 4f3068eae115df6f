"""Connections of a group's processes beside those of the engine: process 0 has one to each of the others."""

import json
import secrets
import socket
import struct
import sys
import time

from flowkit.engines import engine

# The rank of a process and how often it has met the others, or one of the next lines'.
MESSAGE = struct.Struct(">iq")
FAREWELL = -1  # in the place of a rank: whoever says so goes in order, or because of another one
ENDED = -1  # in the place of a number of meetings
_REACH = 10.0  # seconds in which the others reach process 0, all of which have just been heard of
# A host without power is noticed after 30 s.
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}


def connected(host: str, seconds: float) -> dict[int, socket.socket]:
    """{rank: a connection}, to all others in process 0, to that one in them; none at all if one cannot reach it.

    Training needs no watch: where a firewall or a service lets nothing through but the port of the launcher, what the
    engine says has to do.
    """
    main, count = engine.process_rank() == 0, engine.processes()
    peers = _guests(seconds) if main else _host(host, seconds)
    complete = len(peers) == (count - 1 if main else 1)
    without = [rank for rank, word in enumerate(engine.exchange(b"1" if complete else b"0")) if word == b"0"]
    if not without:
        return peers
    for peer in peers.values():
        peer.close()
    if main:
        some = ", ".join(map(str, filter(None, without)))
        print(
            f"flowkit: note: process {some} of {count} cannot reach a free port of process 0: if one ends, it may take "
            "the others longer to notice, and they may not know which.",
            file=sys.stderr,
            flush=True,
        )
    return {}


def _host(host, seconds):
    port, word = json.loads(engine.exchange(b"")[0])
    try:
        peer = socket.create_connection((host.strip("[]"), port), timeout=min(seconds, _REACH))
        peer.sendall(word.encode() + MESSAGE.pack(engine.process_rank(), ENDED))
    except OSError:
        return {}
    return {0: _kept_alive(peer)}


def _guests(seconds):
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    count = engine.processes()
    with socket.create_server(("", 0), family=family, backlog=count, dualstack_ipv6=dual) as server:
        word = secrets.token_hex(16)  # who does not know it is none of the group
        engine.exchange(json.dumps([server.getsockname()[1], word]).encode())
        guests, end = {}, time.monotonic() + min(seconds, _REACH)
        while len(guests) < count - 1:
            server.settimeout(max(0.1, end - time.monotonic()))
            try:
                guest, _ = server.accept()
            except TimeoutError:
                break
            guest.settimeout(5.0)
            try:
                given = read(guest, len(word) + MESSAGE.size)
            except OSError:
                given = b""
            if given.startswith(word.encode()):
                rank, _ = MESSAGE.unpack(given[len(word) :])
                guests[rank] = _kept_alive(guest)
            else:
                guest.close()
    return guests


def _kept_alive(peer):
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):  # macOS and Windows lack some
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return peer


def read(peer: socket.socket, size: int) -> bytes:
    """So many bytes. Raises an OSError if the connection ends before."""
    data = b""
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data
