"""Wait until all processes have reached process 0, before the engine connects them.

An engine whose other processes never come aborts (JAX), or waits longer than it should (PyTorch, at a port where
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
    reason: OSError = TimeoutError(f"process 0 did not answer at {host}:{port}")
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), timeout=left) as peer:
                peer.sendall(_HELLO + f"{rank}".encode().ljust(_SIZE - len(_HELLO)))
                peer.settimeout(max(0.01, end - time.monotonic()))
                if _read(peer, len(_COME)) == _COME:
                    return
        except TimeoutError:
            break
        except OSError as error:  # process 0 is not there yet, or has been started again
            reason = error
        time.sleep(_AGAIN)
    raise reason


def _receive(port, processes, end):
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    here: dict[int, socket.socket] = {}
    with (
        contextlib.ExitStack() as peers,
        socket.create_server(("", port), family=family, backlog=processes, dualstack_ipv6=dual) as server,
    ):
        while missing := set(range(1, processes)) - here.keys():
            server.settimeout(max(0.01, end - time.monotonic()))
            try:
                peer = peers.enter_context(server.accept()[0])
            except TimeoutError:
                raise TimeoutError(f"processes {sorted(missing)} did not come") from None
            peer.settimeout(_SOON)
            with contextlib.suppress(OSError):  # a stranger
                greeting = _read(peer, _SIZE)
                if greeting.startswith(_HELLO) and greeting[len(_HELLO) :].strip().isdigit():
                    here[int(greeting[len(_HELLO) :])] = peer
        for peer in here.values():
            with contextlib.suppress(OSError):
                peer.sendall(_COME)


def _read(peer, size):
    data = b""
    while len(data) < size and (piece := peer.recv(size - len(data))):
        data += piece
    return data
