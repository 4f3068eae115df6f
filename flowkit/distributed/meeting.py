"""Wait until all processes have reached process 0, before the backend connects them.

A backend whose other processes never come aborts (JAX), or waits longer than it should (PyTorch, at a port where
something else listens).
"""

import contextlib
import socket
import time

_HELLO, _COME = b"flowkit ", b"all are here"
_SIZE = 24  # bytes of a greeting: the word and a rank
_SOON = 2.0  # seconds in which a process that connects greets
_AGAIN = 0.2  # seconds between two attempts to connect


def meet(address: str, processes: int, rank: int, seconds: float) -> None:
    """Wait for the others at `address`, the "host:port" of process 0. Raises OSError if one does not come in time."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + seconds
    if rank:
        _go(host.strip("[]"), int(port), rank, end)
    else:
        _receive(int(port), processes, end)


def _go(host, port, rank, end):
    while True:
        reason: OSError = TimeoutError(f"process 0 did not answer at {host}:{port}")
        try:
            with socket.create_connection((host, port), timeout=_left(end)) as peer:
                peer.sendall(greeting(rank))
                peer.settimeout(_left(end))
                if peer.makefile("rb").read(len(_COME)) == _COME:
                    return
        except TimeoutError:
            raise reason from None
        except OSError as error:  # process 0 is not there yet, or has been started again
            reason = error
        if time.monotonic() > end:
            raise reason
        time.sleep(_AGAIN)


def greeting(rank: int) -> bytes:
    """Return what a process sends to process 0."""
    return (_HELLO + str(rank).encode()).ljust(_SIZE)


def _receive(port, processes, end):
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    here: dict[int, socket.socket] = {}
    with (
        contextlib.ExitStack() as peers,
        socket.create_server(("", port), family=family, backlog=processes, dualstack_ipv6=dual) as server,
    ):
        while missing := set(range(1, processes)) - here.keys():
            server.settimeout(_left(end))
            try:
                peer, _ = server.accept()
            except TimeoutError:
                raise TimeoutError(f"processes {sorted(missing)} did not come") from None
            rank = _rank(peer)
            if rank is None:  # a stranger, or a process that comes again
                peer.close()
            else:
                here[rank] = peers.enter_context(peer)
        for peer in here.values():
            with contextlib.suppress(OSError):
                peer.sendall(_COME)


def _rank(peer):
    """Return the rank of a process that greets, or None."""
    peer.settimeout(_SOON)
    try:
        message = peer.makefile("rb").read(_SIZE)
    except OSError:
        return None
    rank = message.removeprefix(_HELLO).strip()
    return int(rank) if message.startswith(_HELLO) and rank.isdigit() else None


def _left(end):
    return max(0.01, end - time.monotonic())
