"""Live progress of a job: up to two messages a second, lost without a subscriber."""

import asyncio
import time

from services.generator.domain.jobs import Job
from services.generator.ports import Facts

#: Shortest time in seconds between two messages.
MIN_INTERVAL_SECONDS = 0.5


class ProgressReporter:
    """Publishes progress; may be called with fractions from 0 to 1, from any thread."""

    def __init__(self, facts: Facts, job: Job) -> None:
        self._facts = facts
        self._job = job
        self._loop = asyncio.get_running_loop()
        self._last = 0.0
        self._furthest = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, fraction: float) -> None:
        """Publishes a fraction, unless it is no advance, or another was published just before."""
        now = time.monotonic()
        if fraction <= self._furthest or now - self._last < MIN_INTERVAL_SECONDS:
            return
        self._last, self._furthest = now, fraction
        self._loop.call_soon_threadsafe(self._send, fraction)

    def _send(self, fraction: float) -> None:
        task = self._loop.create_task(self._facts.progress(self._job, percent=round(100 * fraction, 1)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
