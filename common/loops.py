"""Loops: one function that ticks and survives, around one that works and returns counts."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

from common.errors import DependencyUnavailable, ServiceError
from common.logs import event

_LOG = logging.getLogger(__name__)
LONGEST_BACKOFF = 30.0
#: By then the longest pause is reached; an outage of hours must not make a number that is too large.
MOST_DOUBLINGS = 16

RunOnce = Callable[[], Awaitable[Mapping[str, int] | None]]


class Stopped(Exception):
    """The process was told to stop before it had started."""


async def run_every(
    name: str,
    run_once: RunOnce,
    *,
    interval: float | Callable[[], float],
    stop: asyncio.Event,
    wake: asyncio.Event | None = None,
    jitter: float = 0.2,
) -> None:
    """Run once per interval (seconds), or as soon as `wake` is set, until `stop` is set.

    A run that raises is logged and tried again after a growing pause: a loop ends with its process only.
    """
    failures = 0
    while not stop.is_set():
        if wake is not None:
            wake.clear()
        try:
            counts = await run_once()
        except (DependencyUnavailable, ServiceError) as error:
            failures += 1
            event(_LOG, logging.WARNING, f"{name}.postponed", because=str(error))
        except Exception:  # noqa: BLE001 - the loop's one duty is to survive; the failure is logged with its trace
            failures += 1
            _LOG.exception("%s.failed", name, extra={"failures": failures})
        else:
            failures = 0
            if counts and any(counts.values()):
                event(_LOG, logging.DEBUG, f"{name}.ran", **counts)
        seconds = interval() if callable(interval) else interval
        pause = backoff(seconds, failures) if failures else seconds
        # Spread, so that processes that started together do not ask together for ever.
        await pause_until(stop, None if failures else wake, seconds=pause * random.uniform(1 - jitter, 1 + jitter))  # noqa: S311


def backoff(interval: float, failures: int) -> float:
    """Seconds to wait after so many failures in a row of what runs once per interval.

    From a second upwards, however rarely it runs: what is away at the start is usually back soon.
    """
    return min(LONGEST_BACKOFF, min(interval, 1.0) * 2.0 ** min(failures, MOST_DOUBLINGS))


async def pause_until(*events: asyncio.Event | None, seconds: float) -> bool:
    """Wait for any of the events, at most so long; tells whether one came."""
    waiting = [asyncio.ensure_future(one.wait()) for one in events if one is not None]
    try:
        if not waiting:
            await asyncio.sleep(seconds)
            return False
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in waiting:
            task.cancel()
