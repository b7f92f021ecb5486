"""Live progress of a job: up to two messages a second, lost without a subscriber."""

import asyncio
import time
from collections.abc import Callable

from services.generator.domain.jobs import Job
from services.generator.ports import Facts

#: Shortest time in seconds between two messages.
MIN_INTERVAL_SECONDS = 0.5
#: Time in seconds after which the same position is sent again, for a job-service that was restarted meanwhile.
REPEAT_SECONDS = 5.0


class ProgressReporter:
    """Publishes progress; may be called with fractions from 0 to 1, from any thread."""

    def __init__(self, facts: Facts, job: Job, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._facts = facts
        self._job = job
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._last = float("-inf")
        self._furthest = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, fraction: float) -> None:
        """Publishes the furthest fraction, unless a message was sent just before, or says the same a short time ago."""
        now, is_advance = self._clock(), fraction > self._furthest
        if not is_advance and not self._furthest:
            return
        if now - self._last < (MIN_INTERVAL_SECONDS if is_advance else REPEAT_SECONDS):
            return
        self._last, self._furthest = now, max(fraction, self._furthest)
        self._loop.call_soon_threadsafe(self._send, self._furthest)

    def _send(self, fraction: float) -> None:
        task = self._loop.create_task(self._facts.progress(self._job, percent=round(100 * fraction, 1)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
