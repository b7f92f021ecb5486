"""Keeps children running: a child that ends is started again, after pauses that grow while it keeps ending.

A child that runs, and reports for a while that it cannot work, is stopped and started again.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from cli.stack.child import Child

#: Seconds before a restart: the first pause and, doubled each time, the longest.
SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
#: A child that ran for so many seconds is healthy again: after its next end the pause is the shortest.
HEALTHY_SECONDS = 20.0
#: Seconds between two checks of all children, and between two calls of a child's `is_well`.
INTERVAL = 0.1
WELL_CHECK_SECONDS = 1.0
#: Seconds that a child may report to be unwell before it is restarted, and seconds that it has for its start.
UNWELL_SECONDS = 15.0
STARTING_SECONDS = 180.0
#: Seconds to end after the grace was cut short or is over.
HURRY_SECONDS = 2.0


class Watched:
    """A child, and when it started, ended and was well."""

    def __init__(self, child: Child, now: Callable[[], float]) -> None:
        #: The child that is watched.
        self.child = child
        self._now = now
        self._pause = SHORTEST_PAUSE
        self._started_at = now()
        self._due: float | None = None
        self._checked_at = now()
        self._was_well = False
        self._unwell_since: float | None = None

    def check(self, report: Callable[[str], None]) -> bool:
        """Restarts the child when that is due; returns whether it was started."""
        now, name = self._now(), self.child.program.name
        if self.child.is_alive:
            if self._is_unwell_for_long(now):
                report(f"{name} reports that it cannot work; it is stopped and started again")
                self.child.stop()
            return False
        if self._due is None:
            if now - self._started_at >= HEALTHY_SECONDS:
                self._pause = SHORTEST_PAUSE
            report(f"{name} ended ({describe_end(self.child.exit_status)}); it starts again in {self._pause:.1f} s")
            self._due, self._pause = now + self._pause, min(self._pause * 2, LONGEST_PAUSE)
        if now < self._due:
            return False
        self._due, self._started_at = None, now
        self._was_well, self._unwell_since = False, None
        try:
            self.child.start()
        except OSError as error:
            # No memory or no file descriptor: this may pass, so the next check counts it as one more end.
            report(f"{name} could not be started: {error}")
            return False
        report(f"{name} runs again as process {self.child.pid}")
        return True

    def _is_unwell_for_long(self, now: float) -> bool:
        """Whether the child has reported to be unwell for too long. A child that does not respond may be busy."""
        if self.child.program.is_well is None or now - self._checked_at < WELL_CHECK_SECONDS:
            return False
        self._checked_at = now
        is_well = self.child.program.is_well()
        if is_well:
            self._was_well, self._unwell_since = True, None
        if is_well is not False:
            return False
        if self._unwell_since is None:
            self._unwell_since = now
        may_be_starting = not self._was_well and now - self._started_at < STARTING_SECONDS
        return not may_be_starting and now - self._unwell_since >= UNWELL_SECONDS


class Supervisor:
    """Watches children until `stop`.

    `report` gets a line for people about each restart; `changed` is called when a process number changed, and may
    raise `OSError`: then it is called again.
    """

    def __init__(
        self, *, report: Callable[[str], None], changed: Callable[[], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._report = report
        self._changed = changed
        self._now = now
        self._watched: list[Watched] = []
        self._is_recorded = True
        #: The last error that was reported, so that it is reported once.
        self._reported_error = ""

    def start(self, child: Child) -> None:
        """Starts a child and watches it from now on."""
        child.start()
        self._watched.append(Watched(child, self._now))
        self._changed()

    def run_once(self) -> int:
        """Checks every child; returns how many were started again."""
        started = sum(watched.check(self._report) for watched in self._watched)
        self._is_recorded = self._is_recorded and not started
        try:
            self._bound_logs_and_record()
        except OSError as error:
            # A full disk is no reason to stop what runs; the next check tries again.
            if str(error) != self._reported_error:
                self._report(f"the stack's folder cannot be written: {error}")
            self._reported_error = str(error)
        else:
            self._reported_error = ""
        return started

    def _bound_logs_and_record(self) -> None:
        for watched in self._watched:
            watched.child.bound_log()
        if not self._is_recorded:
            self._changed()
            self._is_recorded = True

    def run(self, stop: threading.Event) -> None:
        """Keeps all children running until `stop` is set."""
        while not stop.wait(INTERVAL):
            self.run_once()

    def stop(self, phases: Sequence[Iterable[Child]], *, grace_seconds: float, hurry: threading.Event) -> None:
        """Stops the children of one phase after the other; `hurry` cuts the grace of each phase short."""
        for phase in phases:
            _stop_together(list(phase), self._now, grace_seconds, hurry)
        self._watched.clear()


def describe_end(status: int | None) -> str:
    """An exit status (`Child.exit_status`) as text."""
    if status is None:
        return "not started"
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _stop_together(children: list[Child], now: Callable[[], float], grace: float, hurry: threading.Event) -> None:
    for child in children:
        child.request_stop()
    deadline = now() + grace
    while any(child.is_alive for child in children) and now() < deadline and not hurry.wait(INTERVAL / 2):
        pass
    # Also without grace a child gets a moment to close its files.
    last = now() + HURRY_SECONDS
    for child in children:
        child.stop(last - now())
