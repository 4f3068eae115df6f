"""Who of a group has ended: process 0 holds a connection to each of the others, which breaks when either ends."""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable

from flowkit import engines
from flowkit.distributed.connections import ENDED, FAREWELL, MESSAGE, connected, read
from flowkit.engines import engine

GRACE = 20.0  # seconds in which a process may notice by itself that another one has ended
_ALL = 0.3  # seconds in which those that end at the same moment, with their host, are all known
_LOOK = 0.5  # seconds after which one looks whether it waits for a process that has left


class Watch:
    """Hears of each process of the group that ends without a farewell, by whatever cause, or leaves too early.

    An engine tells its neighbours of one that has ended, at best, and only while they wait for it. A connection is
    closed by the system, and told of at once. All processes make their `Watch` at the same time.

    Args:
        host: where the others reach process 0.
        seconds: how long to wait for them.
        end: called with those that have ended, in a thread of its own, if this process has not noticed for `grace`
            seconds: it may wait for them in the engine, which some of them do in silence.
        end_alone: the same with those that have left in order, if this process waits for them.
        grace_of_main: the grace if it is process 0 that has ended.
    """

    def __init__(
        self,
        host: str,
        seconds: float,
        end: Callable[[list[int]], None],
        end_alone: Callable[[list[int]], None],
        grace: float = GRACE,
        grace_of_main: float = GRACE,
    ) -> None:
        self._rank, self._end, self._end_alone = engine.process_rank(), end, end_alone
        self._grace, self._grace_of_main = grace, grace_of_main
        self._changed = threading.Condition()
        self._ended: list[int] = []
        self._leaving: dict[int, int] = {}  # how often whoever leaves in order has met the others
        self._left: set[int] = set()  # whoever has said farewell
        self._leaves = self._answered = False
        self._peers = connected(host, seconds)
        # Where nobody is watched the engine has to do.
        self._others = set(range(engine.processes())) - {self._rank} if self._peers else set()
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

    def missed(self) -> list[int]:
        """The ranks that have left in order, but would have to come if this process went to meet all now; sorted."""
        with self._changed:
            return sorted(rank for rank, met in self._leaving.items() if met <= engines.meetings())

    def leave(self) -> None:
        """Say that this process leaves in order, and wait until all others do too, or one has ended."""
        with self._changed:
            self._leaves = True
            self._changed.notify_all()
        self._tell(self._rank, engines.meetings())
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._leaving.keys() >= self._others)

    def say_end(self) -> None:
        """Say that this process ends now, before its connections do."""
        self._tell(self._rank)

    def close(self) -> None:
        """Take leave: that this one ends, and what the others do from now on, is nobody's business any more."""
        self._say_farewell()
        for peer in self._peers.values():
            with contextlib.suppress(OSError):  # it may be gone
                peer.shutdown(socket.SHUT_WR)

    def end_together(self, seconds: float) -> None:
        """Take leave of processes that all end now; process 0 waits so many `seconds` to be the last one."""
        self._tell(self._rank, engines.meetings())  # for one that goes on all the same
        self._say_farewell()
        if self._rank == 0:
            self._thread.join(seconds)

    def _say_farewell(self):
        with self._changed:
            self._answered = True
            self._changed.notify_all()
        self._tell(FAREWELL)

    def _tell(self, what, met=ENDED):
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.sendall(MESSAGE.pack(what, met))

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
            told, met = MESSAGE.unpack(read(peer, MESSAGE.size))
        except OSError:
            if rank not in self._left:
                self._note(rank)
            if rank == 0 and self._ended:
                self._expect(self._grace_of_main)
            return False
        if told == FAREWELL:
            self._left.add(rank)
        elif met == ENDED:
            self._note(told)
        elif told != self._rank:  # whom process 0 tells of itself
            self._note_leaving(told, met)
        return True

    def _note_leaving(self, rank, met):
        with self._changed:
            first = not self._leaving
            self._leaving[rank] = met
            self._changed.notify_all()
        if self._rank == 0:
            self._tell(rank, met)
        if first:
            threading.Thread(target=self._look, name="flowkit look", daemon=True).start()

    def _look(self):
        """Have this process end if it has gone to meet all, of whom some will never come."""
        alone = []
        while not alone:
            with self._changed:
                if self._changed.wait_for(lambda: self._leaves or self._answered, _LOOK):
                    return
                alone = sorted(rank for rank, met in self._leaving.items() if met < engines.meetings())
        self._end_alone(alone)

    def _note(self, rank):
        with self._changed:
            if rank in self._ended:
                return
            self._ended.append(rank)
            self._changed.notify_all()
        if self._rank == 0:
            self._tell(rank)
        self._expect(self._grace_of_main if rank == 0 else self._grace)

    def _expect(self, grace):
        """Have this process end, unless it takes leave within so many seconds."""
        threading.Thread(target=self._wait, args=(grace,), name="flowkit grace", daemon=True).start()

    def _wait(self, grace):
        with self._changed:
            answered = self._changed.wait_for(lambda: self._answered, grace)
            self._answered = True
        if not answered:
            self._end(sorted(self._ended))
