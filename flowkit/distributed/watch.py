"""Who of a group has ended: process 0 holds a connection to each of the others, which breaks when either ends."""

import contextlib
import json
import os
import secrets
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

from flowkit import backends

GRACE = 20.0  # seconds in which a process may notice by itself that another one has ended
_REACH = 10.0  # seconds in which the others reach process 0, all of which have just been heard of
_ALL = 0.3  # seconds in which those that end at the same moment, with their host, are all known
_MESSAGE = struct.Struct(">i")  # the rank of a process that has ended, or the next line's
_FAREWELL = -1  # whoever says so goes in order, or because of another one
# A host without power is noticed after 30 s.
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}


class Watch:
    """Hears of each process of the group that ends without a farewell, by whatever cause.

    An engine tells its neighbours of one that has ended, at best, and only while they wait for it. A connection is
    closed by the system, and told of at once. All processes make their `Watch` at the same time.

    Args:
        host: where the others reach process 0.
        seconds: how long to wait for them.
        end: called with those that have ended, in a thread of its own, if this process has not noticed for `grace`
            seconds: it may wait for them in the engine, which some of them do in silence.
        grace_of_main: the same if it is process 0 that has ended.
    """

    def __init__(
        self,
        host: str,
        seconds: float,
        end: Callable[[list[int]], None],
        grace: float = GRACE,
        grace_of_main: float = GRACE,
    ) -> None:
        self._rank, self._end = backends.process_rank(), end
        self._grace, self._grace_of_main = grace, grace_of_main
        self._changed = threading.Condition()
        self._ended: list[int] = []
        self._left: set[int] = set()  # whoever has said farewell
        self._answered = False
        self._peers = _peers(host, seconds)
        if hasattr(os, "register_at_fork"):  # Windows has none
            # A child that outlives this process, as a loader of data may, would hold its connections open.
            os.register_at_fork(after_in_child=self._let_go)
        self._thread = threading.Thread(target=self._listen, name="flowkit watch", daemon=True)
        self._thread.start()

    def ended(self, seconds: float) -> list[int]:
        """The ranks that have ended, sorted; waits so many `seconds` for the first one."""
        with self._changed:
            somebody = self._changed.wait_for(lambda: self._ended, seconds)
        if somebody:
            time.sleep(_ALL)
        return sorted(self._ended)

    def close(self) -> None:
        """Take leave: that this one ends, and what the others do from now on, is nobody's business any more."""
        self._say_farewell()
        for peer in self._peers.values():
            with contextlib.suppress(OSError):  # it may be gone
                peer.shutdown(socket.SHUT_WR)

    def end_together(self, seconds: float) -> None:
        """Take leave of processes that all end now; process 0 waits so many `seconds` to be the last one."""
        self._say_farewell()
        if self._rank == 0:
            self._thread.join(seconds)

    def _say_farewell(self):
        with self._changed:
            self._answered = True
            self._changed.notify_all()
        self._tell(_FAREWELL)

    def _tell(self, what):
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.sendall(_MESSAGE.pack(what))

    def _listen(self):
        with selectors.DefaultSelector() as selector:
            for rank, peer in self._peers.items():
                selector.register(peer, selectors.EVENT_READ, rank)
            while selector.get_map():
                for key, _ in selector.select():
                    if not self._heard(key.data, key.fileobj):
                        selector.unregister(key.fileobj)
        self._let_go()

    def _let_go(self):
        for peer in self._peers.values():
            peer.close()

    def _heard(self, rank, peer):
        """Read one message; False if the connection has come to its end."""
        try:
            (told,) = _MESSAGE.unpack(_read(peer, _MESSAGE.size))
        except OSError:
            if rank not in self._left:
                self._note(rank)
            if rank == 0 and self._ended:
                self._expect(self._grace_of_main)
            return False
        if told == _FAREWELL:
            self._left.add(rank)
        else:
            self._note(told)
        return True

    def _note(self, rank):
        with self._changed:
            if rank in self._ended:
                return
            self._ended.append(rank)
            self._changed.notify_all()
        if self._rank == 0:
            self._tell(rank)
        self._expect(self._grace)

    def _expect(self, grace):
        """Have this process end, unless it takes leave within so many seconds."""
        threading.Thread(target=self._wait, args=(grace,), name="flowkit grace", daemon=True).start()

    def _wait(self, grace):
        with self._changed:
            answered = self._changed.wait_for(lambda: self._answered, grace)
            self._answered = True
        if not answered:
            self._end(sorted(self._ended))


def _peers(host, seconds):
    """{rank: a connection}, to all others in process 0, to that one in them; none at all if one cannot reach it.

    Training needs no watch: where a firewall or a service lets nothing through but the port of the launcher, what the
    engine says has to do.
    """
    main, count = backends.process_rank() == 0, backends.processes()
    peers = _guests(seconds) if main else _host(host, seconds)
    complete = len(peers) == (count - 1 if main else 1)
    without = [
        rank for rank, word in enumerate(backends.exchange(b"1" if complete else b"0")) if word == b"0"
    ]
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
    port, word = json.loads(backends.exchange(b"")[0])
    try:
        peer = socket.create_connection((host.strip("[]"), port), timeout=min(seconds, _REACH))
        peer.sendall(word.encode() + _MESSAGE.pack(backends.process_rank()))
    except OSError:
        return {}
    return {0: _kept_alive(peer)}


def _guests(seconds):
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    count = backends.processes()
    with socket.create_server(("", 0), family=family, backlog=count, dualstack_ipv6=dual) as server:
        word = secrets.token_hex(16)  # who does not know it is none of the group
        backends.exchange(json.dumps([server.getsockname()[1], word]).encode())
        guests, end = {}, time.monotonic() + min(seconds, _REACH)
        while len(guests) < count - 1:
            server.settimeout(max(0.1, end - time.monotonic()))
            try:
                guest, _ = server.accept()
            except TimeoutError:
                break
            guest.settimeout(5.0)
            try:
                given = _read(guest, len(word) + _MESSAGE.size)
            except OSError:
                given = b""
            if given.startswith(word.encode()):
                (rank,) = _MESSAGE.unpack(given[len(word) :])
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


def _read(peer, size):
    """So many bytes. Raises an OSError if the connection ends before."""
    data = b""
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data
