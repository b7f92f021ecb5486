"""Failovers: the database's primary dies and its standby takes over; the broker's leader is away for a while."""

import threading
import time
from collections import Counter

import psutil

from tests.chaos.facts import Facts
from tests.chaos.stack import ChaosStack
from tests.support.patience import PATIENCE

#: Names of the faults; each begins with the same words.
DATABASE, BROKER = "fail over postgres", "fail over nats"


class Failovers:
    """Makes failovers of a stack that has them, and counts those that happened."""

    def __init__(self, stack: ChaosStack, facts: Facts) -> None:
        self._stack = stack
        self._facts = facts
        self._pause = threading.Event()
        #: How often another server took over, by the fault's name.
        self.done = Counter[str]()

    def database(self) -> None:
        """The primary is killed, its standby is promoted, and it comes back as the standby, with a fresh copy."""
        pair = self._stack.pair
        assert pair is not None
        # Commits wait for a standby, and none is promoted that they have not waited for.
        pair.wait_synchronous()
        died = pair.primary
        family = self._stack.family(died)
        self._stack.hold_down(died)
        psutil.wait_procs(family, PATIENCE)
        pair.promote()
        self.done[DATABASE] += 1
        pair.copy_to_standby()
        self._stack.let_up(died)
        self._stack.wait_ready(died)
        pair.wait_synchronous()

    def broker(self, *, seconds: float) -> None:
        """The server that leads the stream of facts is away for so long, and at least until another leads it."""
        until = time.monotonic() + seconds
        led = self.leader()
        self._stack.hold_down(led)
        try:
            self.leader(other_than=led)
            self.done[BROKER] += 1
            self._pause.wait(max(until - time.monotonic(), 0.0))
        finally:
            self._stack.let_up(led)
        self._stack.wait_ready(led)

    def leader(self, *, other_than: str | None = None) -> str:
        """Name of the server that leads the stream of facts, once one does. Raises `AssertionError`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (found := self._facts.leader()) not in (None, other_than):
                return found
            self._pause.wait(0.1)
        raise AssertionError(f"no server but {other_than} led the stream of facts within {PATIENCE:.0f} s")
