"""Processes wait for each other at the port of process 0: with a time limit, whoever else is at that port."""

import pickle
import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from flowkit.distributed import gather, meeting
from flowkit.distributed.meeting import meet
from flowkit.engines import engine

HOST = "127.0.0.1"
SOON = 60.0  # seconds that no test should need
NEVER = 0.3  # seconds that are waited in vain


def free_port():
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


def met(address, ranks, count, seconds=SOON):
    """{rank: None, or the error that `meet` raised in it}."""
    came = {}

    def one(rank):
        try:
            came[rank] = meet(address, count, rank, seconds)
        except OSError as error:
            came[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


@pytest.mark.one_engine
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_go_on_once_all_have_come(order):
    assert met(f"localhost:{free_port()}", order, 3) == dict.fromkeys(range(3))


@pytest.mark.one_engine
def test_process_0_names_those_that_did_not_come(monkeypatch):
    now, came, port = [0.0], {}, free_port()
    monkeypatch.setattr(meeting, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(meeting, "_SOON", SOON)
    thread = threading.Thread(target=lambda: came.update(met(f"{HOST}:{port}", (0,), 4)))
    thread.start()
    with connected(port) as process:
        process.sendall(meeting.greeting(2))
        now[0] = 2 * SOON
        connected(port).close()  # in case process 0 waits for another one
        thread.join()
    assert str(came[0]) == "processes [1, 3] did not come"


@pytest.mark.one_engine
def test_a_port_where_nothing_listens_and_a_wrong_host_end_with_a_reason():
    assert "refused" in str(met(f"{HOST}:{free_port()}", (1,), 2, NEVER)[1])
    assert isinstance(met("no-such-host.invalid:1", (1,), 2, NEVER)[1], OSError)


@pytest.mark.one_engine
def test_a_silent_stranger_at_the_port_ends_with_a_reason():
    with socket.create_server((HOST, 0)) as stranger:
        port = stranger.getsockname()[1]
        assert str(met(f"{HOST}:{port}", (1,), 2, NEVER)[1]) == f"process 0 did not answer at {HOST}:{port}"


@pytest.mark.one_engine
def test_strangers_that_connect_are_not_taken_for_processes(monkeypatch):
    monkeypatch.setattr(meeting, "_SOON", 0.1)
    port, came = free_port(), {}
    thread = threading.Thread(target=lambda: came.update(met(f"{HOST}:{port}", (0,), 2)))
    thread.start()
    strangers = [connected(port) for _ in range(4)]
    for stranger, greeting in zip(
        strangers, (b"GET / HTTP/1.1\r\n" + bytes(40), b"flowkit one".ljust(24), b"1" * 24), strict=False
    ):
        stranger.sendall(greeting)
    strangers[2].close()  # the fourth one stays, silent
    assert met(f"{HOST}:{port}", (1,), 2) == {1: None}
    thread.join()
    assert came == {0: None}
    for stranger in strangers:
        stranger.close()


def connected(port):
    """Connect to process 0 as soon as it listens."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        try:
            return socket.create_connection((HOST, port), timeout=SOON)
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise TimeoutError


class Payload:
    """An object that would run code where it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.one_engine
def test_no_pickle_of_another_process_is_read(monkeypatch):
    monkeypatch.setattr(engine, "processes", lambda: 2)
    monkeypatch.setattr(engine, "exchange", lambda data: [data, pickle.dumps(Payload())])
    with pytest.raises(ValueError, match="contains pickled"):
        gather(np.zeros(2))
