"""Keeps children running: one that ends is started again, ever later while it keeps ending.

One that lives, and says for a while that it cannot do its work, is made to end.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from cli.stack.child import Child

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
#: A child that ran so long is healthy again: its next end is a new story.
HEALTHY_SECONDS = 20.0
#: How often children are looked at, and how often one is asked whether it is well.
INTERVAL = 0.1
ASKING_SECONDS = 1.0
#: A child that says for so long that it is not well is started again; at its start it may take longer to become so.
UNWELL_SECONDS = 15.0
STARTING_SECONDS = 180.0
#: Time to end for one that is told to hurry.
HURRY_SECONDS = 2.0


class Watched:
    """A child with the memory of its last starts."""

    def __init__(self, child: Child, now: Callable[[], float]) -> None:
        self.child = child
        self._now = now
        self._pause = SHORTEST_PAUSE
        self._started_at = now()
        self._due: float | None = None
        self._asked_at = now()
        self._was_well = False
        self._unwell_since: float | None = None

    def look(self, tell: Callable[[str], None]) -> bool:
        """Start the child again when it is due; whether that was done."""
        now, name = self._now(), self.child.program.name
        if self.child.is_alive:
            if self._has_had_enough(now):
                tell(f"{name} says that it cannot do its work; it is stopped, to start again")
                self.child.stop()
            return False
        if self._due is None:
            if now - self._started_at >= HEALTHY_SECONDS:
                self._pause = SHORTEST_PAUSE
            tell(f"{name} ended ({describe_end(self.child.exit_status)}); it starts again in {self._pause:.1f} s")
            self._due, self._pause = now + self._pause, min(self._pause * 2, LONGEST_PAUSE)
        if now < self._due:
            return False
        self._due, self._started_at = None, now
        self._was_well, self._unwell_since = False, None
        try:
            self.child.start()
        except OSError as error:
            # No memory, no file descriptor: what it ended for may pass, so the next look counts it as one more end.
            tell(f"{name} could not be started: {error}")
            return False
        tell(f"{name} runs again as process {self.child.pid}")
        return True

    def _has_had_enough(self, now: float) -> bool:
        """Whether the child has been telling for long enough that it is not well. One that says nothing may be busy."""
        if self.child.program.is_well is None or now - self._asked_at < ASKING_SECONDS:
            return False
        self._asked_at = now
        says = self.child.program.is_well()
        if says:
            self._was_well, self._unwell_since = True, None
        if says is not False:
            return False
        if self._unwell_since is None:
            self._unwell_since = now
        may_be_starting = not self._was_well and now - self._started_at < STARTING_SECONDS
        return not may_be_starting and now - self._unwell_since >= UNWELL_SECONDS


class Supervisor:
    """Watches children until told to stop; `changed` is called when a process number changed."""

    def __init__(
        self, *, tell: Callable[[str], None], changed: Callable[[], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._changed = changed
        self._now = now
        self._watched: list[Watched] = []
        self._noted = True
        self._trouble = ""

    def start(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        child.start()
        self._watched.append(Watched(child, self._now))
        self._changed()

    def run_once(self) -> int:
        """Look at every child; how many were started again."""
        started = sum(one.look(self._tell) for one in self._watched)
        self._noted = self._noted and not started
        try:
            self._keep_books()
        except OSError as error:
            # A full disk is no reason to stop what runs; the next look tries again.
            if str(error) != self._trouble:
                self._tell(f"the stack's folder cannot be written: {error}")
            self._trouble = str(error)
        else:
            self._trouble = ""
        return started

    def _keep_books(self) -> None:
        for one in self._watched:
            one.child.bound_log()
        if not self._noted:
            self._changed()
            self._noted = True

    def run(self, stop: threading.Event) -> None:
        """Keep all children running until `stop` is set."""
        while not stop.wait(INTERVAL):
            self.run_once()

    def stop(self, phases: Sequence[Iterable[Child]], *, grace_seconds: float, hurry: threading.Event) -> None:
        """Stop phase after phase, whatever was started; `hurry` cuts the grace short."""
        for phase in phases:
            _stop_together(list(phase), self._now, grace_seconds, hurry)
        self._watched.clear()


def describe_end(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "not started"
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _stop_together(children: list[Child], now: Callable[[], float], grace: float, hurry: threading.Event) -> None:
    for child in children:
        child.ask_to_stop()
    deadline = now() + grace
    while any(child.is_alive for child in children) and now() < deadline and not hurry.wait(INTERVAL / 2):
        pass
    # Whoever is told to hurry still gets a moment to let go of its files.
    last = now() + HURRY_SECONDS
    for child in children:
        child.stop(last - now())
