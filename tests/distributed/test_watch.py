"""Who of a group has ended is known to all that are left, and to each by itself: asked of three threads."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from flowkit.distributed import barrier, connections, lost, watch
from flowkit.distributed.watch import Watch
from flowkit.engines import engine

pytestmark = pytest.mark.one_engine

SOON = 5.0  # seconds
HOST = "127.0.0.1"


def never(ranks):
    pytest.fail("ended, though it had noticed")


def end_of(dying):
    """What happens to the connections of a process that dies: nobody in it says anything, the system closes them."""
    peers = connections.connected(HOST, SOON)
    barrier()
    for peer in peers.values():
        peer.close()
    dying.set()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_one_that_ends_is_known_to_all_and_those_that_follow_it_are_not_taken_for_it(in_threads, victim):
    first = (victim + 1) % 3  # the first to go of those that are left
    gone, noticed = threading.Event(), threading.Event()

    def work(rank):
        if rank == victim:
            return end_of(gone)
        own = Watch(HOST, SOON, never, never)
        barrier()
        assert gone.wait(SOON)
        if rank != first:
            assert noticed.wait(SOON)
        known = own.ended(SOON)
        own.close()
        noticed.set()
        return known

    known = in_threads(work)
    assert [known[rank] for rank in range(3) if rank != victim] == [[victim]] * 2


def test_two_that_end_are_both_known(in_threads):
    gone = [threading.Event(), threading.Event()]

    def work(rank):
        if rank:
            return end_of(gone[rank - 1])
        own = Watch(HOST, SOON, never, never)
        barrier()
        assert all(event.wait(SOON) for event in gone)
        known = own.ended(SOON)
        own.close()
        return known

    assert in_threads(work)[0] == [1, 2]


def test_who_takes_leave_has_not_ended(in_threads):
    def work(rank):
        own = Watch(HOST, SOON, never, never)
        barrier()
        if rank == 1:
            own.close()
        barrier()
        known = own.ended(0.5)
        barrier()
        own.close()
        return known

    assert in_threads(work) == [[]] * 3


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize(
    ("victim", "graces"), [(1, {"grace": 1.0}), (0, {"grace": 60.0, "grace_of_main": 1.0})]
)
def test_who_does_not_notice_is_ended(in_threads, answers, victim, graces):
    """As one that waits in an engine that does not tell it."""
    told = [queue.SimpleQueue() for _ in range(3)]

    def work(rank):
        if rank == victim:
            return end_of(threading.Event())
        own = Watch(HOST, SOON, told[rank].put, never, **graces)
        barrier()
        if not answers:
            return told[rank].get(timeout=SOON)
        assert own.ended(SOON) == [victim]
        own.close()
        with pytest.raises(queue.Empty):
            told[rank].get(timeout=1.5)
        return [victim]

    assert in_threads(work) == [[victim] if rank != victim else None for rank in range(3)]


def test_whoever_says_that_it_ends_has_ended(in_threads):
    """Before its connections have, since JAX sees to it as soon as process 0 has."""
    told = queue.SimpleQueue()

    def work(rank):
        own = Watch(HOST, SOON, told.put if rank else never, never, grace=60.0, grace_of_main=0.0)
        barrier()
        if rank == 0:
            own.say_end()
        else:
            assert own.ended(SOON) == [0]
        barrier()
        own.close()

    assert in_threads(work) == [None] * 3
    assert [told.get(timeout=SOON) for _ in range(2)] == [[0]] * 2


def test_where_all_end_none_is_taken_for_lost_and_the_main_one_is_the_last(in_threads):
    gone = []

    def work(rank):
        own = Watch(HOST, SOON, never, never, grace=0.5)
        barrier()
        if rank:
            time.sleep(0.2 * rank)
            gone.append(rank)
        own.end_together(SOON)
        if rank:
            for peer in own._peers.values():
                peer.shutdown(socket.SHUT_RDWR)  # as the end of the process does
        else:
            gone.append(rank)
        return own.ended(1.0)

    assert in_threads(work) == [[]] * 3
    assert gone == [1, 2, 0]


def test_whoever_leaves_in_order_waits_for_all(in_threads):
    came = []

    def work(rank):
        own = Watch(HOST, SOON, never, never)
        barrier()
        time.sleep(0.2 * rank)
        came.append(rank)
        own.leave()
        known = list(came)
        barrier()
        own.close()
        return known

    assert in_threads(work) == [[0, 1, 2]] * 3


def test_whoever_waits_for_one_that_has_left_is_ended(in_threads, monkeypatch):
    met, told, others = [5], [queue.SimpleQueue() for _ in range(3)], threading.Barrier(2, timeout=SOON)
    monkeypatch.setattr(engine, "meetings", lambda: met[0])
    monkeypatch.setattr(watch, "_LOOK", 0.1)

    def work(rank):
        own = Watch(HOST, SOON, never, lambda ranks: told[rank].put(ranks))
        barrier()
        if rank == 1:
            own.leave()
        else:
            with own._changed:
                assert own._changed.wait_for(lambda: own._leaving, SOON)
            assert own.missed() == [1]
            with pytest.raises(queue.Empty):  # it may have something to do alone
                told[rank].get(timeout=0.5)
            others.wait()
            met[0] += 1
            assert told[rank].get(timeout=SOON) == [1]
            others.wait()
            for peer in own._peers.values():
                peer.shutdown(socket.SHUT_RDWR)
        known = own.ended(SOON)
        own.close()
        return known

    known = in_threads(work)[1]  # by then one of the others has ended, or both
    assert known
    assert set(known) <= {0, 2}


def test_that_one_has_left_is_told_whatever_shows_it(monkeypatch):
    expected = "process 1 of 2 has left the group, since its program came to an end or called flowkit.distributed.stop"
    monkeypatch.setattr(lost, "_watch", SimpleNamespace(missed=lambda: [1], ended=lambda seconds: []))
    monkeypatch.setattr(engine, "processes", lambda: 2)
    monkeypatch.setattr(engine, "exchange", lambda data: pytest.fail("would wait for it"))
    monkeypatch.setattr(engine, "is_lost", lambda error: True)
    with pytest.raises(lost.ProcessLost, match=expected):
        barrier()
    with pytest.raises(lost.ProcessLost, match=expected), lost.naming_the_lost():
        raise RuntimeError("Timed out waiting 60000ms for send operation to complete")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_child_that_outlives_its_process_does_not_hide_its_end():
    program = """
import os, socket, sys
from flowkit.distributed import watch
ends = socket.socketpair()
watch.connected = lambda host, seconds: {1: ends[0]}
watch.Watch("", 1.0, print, print)
if os.fork() == 0:
    try:
        ends[0].getpeername()
    except OSError:
        os._exit(0)
    os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_where_one_cannot_reach_the_main_process_all_go_on_without_a_watch(in_threads, monkeypatch, capsys):
    monkeypatch.setattr(connections, "_REACH", 0.5)

    def work(rank):
        own = Watch("256.0.0.1" if rank == 2 else HOST, SOON, never, never)
        known = own.ended(0)
        own.close()
        return known, own._peers

    assert in_threads(work) == [([], {})] * 3
    assert "process 2 of 3 cannot reach a free port of process 0" in capsys.readouterr().err


def test_a_stranger_is_not_taken_for_one_of_the_group(in_threads):
    def work(rank):
        if rank != 2:
            own = Watch(HOST, SOON, never, never)
            barrier()
            own.close()
            return sorted(own._peers)
        port, word = json.loads(engine.exchange(b"")[0])
        peers = []
        for told in (b"", b"G" * 48, word.encode() + b"\0\0\0\2" + bytes(8)):
            peers.append(socket.create_connection((HOST, port), timeout=SOON))
            with contextlib.suppress(OSError):  # a stranger is thrown out
                peers[-1].sendall(told)
                peers[-1].shutdown(socket.SHUT_WR)
        engine.exchange(b"1")
        barrier()
        for peer in peers:
            peer.close()

    assert in_threads(work) == [[1, 2], [0], None]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("lost.ProcessLost('process 1 of 2 has ended')", 1, "flowkit: process 1 of 2 has ended\n"),
        ("KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
    ],
)
def test_a_program_at_its_end_that_waits_in_vain_fails(error, code, said):
    """Python says what is raised there, and ends with 0."""
    program = f"""
import atexit
from flowkit.engines import engine
from flowkit.distributed import group, lost
def leave():
    raise {error}
engine.leave = leave
atexit.register(group._at_exit)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.endswith(said)


@pytest.mark.parametrize("way", ["raise ValueError", "lost._end_late([1])"])
def test_a_process_ends_also_if_nobody_reads_why(way):
    program = f"""
import atexit, os
from flowkit.distributed import lost
atexit.register(print, "waits")
lost.end_on_errors()
os.dup2(os.open(os.devnull, os.O_RDONLY), 2)
{way}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_process_ends_with_its_status_also_if_it_is_interrupted_meanwhile():
    program = """
import atexit
from flowkit.distributed import lost
def interrupted(told_to_all):
    raise KeyboardInterrupt
lost.let_the_others_speak = interrupted
lost._left_with = 3
atexit.register(print, "waits")
atexit.register(lost.end_if_failed)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize(
    ("error", "together"), [("ProcessFailed('in process 1')", True), ("ValueError('mine')", False)]
)
def test_a_program_that_all_end_with_takes_leave(error, together):
    program = f"""
from flowkit.distributed import ProcessFailed, lost
lost.end_together = lambda: print("together", flush=True)
lost.end_on_errors()
raise {error}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith(f"{error.partition('(')[0]}: {error.split(chr(39))[1]}\n")
    assert ("together" in done.stdout) == together


@pytest.mark.parametrize("told", [True, False])
def test_a_command_that_all_end_with_takes_leave(told):
    program = f"""
from flowkit.cli import entry, failure
from flowkit.distributed import lost
def refused(arguments):
    failure.process = 1
    error = failure.CommandError("", 2)
    error.told_to_all = {told}
    raise error
entry._run = refused
lost.end_together = lambda: print("together", flush=True)
entry.script()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert ("together" in done.stdout) == told
