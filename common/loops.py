"""Loops: `run_every` calls a function periodically and survives its errors; the function returns counts."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

from common.errors import DependencyUnavailable, ServiceError
from common.logs import event
from common.telemetry import metrics, registry

_LOG = logging.getLogger(__name__)
#: Longest pause in seconds after failures.
LONGEST_BACKOFF = 30.0
#: Doublings of the pause that are computed; the longest pause is reached before. More would overflow in a long outage.
MAX_DOUBLINGS = 16

#: Does one round of work; returns counts by name, None or zeros when there was nothing to do.
RunOnce = Callable[[], Awaitable[Mapping[str, int] | None]]


class Stopped(Exception):
    """The process was stopped before it had started."""


async def run_every(
    name: str,
    run_once: RunOnce,
    *,
    interval: float | Callable[[], float],
    stop: asyncio.Event,
    wake: asyncio.Event | None = None,
    jitter: float = 0.2,
) -> None:
    """Calls `run_once` once per interval (seconds), or as soon as `wake` is set, until `stop` is set.

    Pauses vary by `jitter`, a share of the pause. An exception is logged, and the next call follows after a growing
    pause (`backoff`): a loop ends only with its process.
    """
    failures = 0
    while not stop.is_set():
        if wake is not None:
            wake.clear()
        try:
            counts = await run_once()
        except (DependencyUnavailable, ServiceError) as error:
            failures += 1
            metrics.count(registry.LOOP_RUNS, name, "postponed")
            event(_LOG, logging.WARNING, f"{name}.postponed", reason=str(error))
        except Exception:  # noqa: BLE001 - a loop must survive every error; the log gets it with its trace
            failures += 1
            metrics.count(registry.LOOP_RUNS, name, "failed")
            _LOG.exception("%s.failed", name, extra={"failures": failures})
        else:
            failures = 0
            metrics.count(registry.LOOP_RUNS, name, "done")
            for item, number in (counts or {}).items():
                metrics.count(registry.LOOP_ITEMS, name, str(item), by=max(number, 0))
            if counts and any(counts.values()):
                event(_LOG, logging.DEBUG, f"{name}.ran", **counts)
        seconds = interval() if callable(interval) else interval
        pause = backoff(seconds, failures) if failures else seconds
        # With jitter, so that processes that started together do not stay in step.
        await pause_until(stop, None if failures else wake, seconds=pause * random.uniform(1 - jitter, 1 + jitter))  # noqa: S311


def backoff(interval: float, failures: int) -> float:
    """Returns the seconds to wait after a number of failures in a row: doubling, up to `LONGEST_BACKOFF`.

    Doubling starts at the interval or one second, whichever is shorter: most outages at the start are short.
    """
    return min(LONGEST_BACKOFF, min(interval, 1.0) * 2.0 ** min(failures, MAX_DOUBLINGS))


async def pause_until(*events: asyncio.Event | None, seconds: float) -> bool:
    """Waits up to `seconds` for any of the events; returns whether one was set."""
    waiting = [asyncio.ensure_future(awaited.wait()) for awaited in events if awaited is not None]
    try:
        if not waiting:
            await asyncio.sleep(seconds)
            return False
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in waiting:
            task.cancel()
