"""When a failed attempt is repeated."""

from collections.abc import Callable

_HOUR = 3600.0
#: Seconds from a failed attempt to the next one, by the attempts that counted so far.
DELAYS = (5.0, 300.0, 1800.0, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
#: Attempts of a delivery; after the last one it has failed.
MAX_ATTEMPTS = len(DELAYS) + 1
#: Part of a delay by which it is longer or shorter at random, so that retries do not arrive together.
JITTER = 0.2
#: Longest seconds of a receiver's Retry-After that are honoured.
MAX_RETRY_AFTER = 24 * _HOUR
#: Seconds until an attempt is repeated that the forward proxy or our own process failed.
OWN_FAULT_DELAY = 30.0

#: Returns a random number from 0 to below 1.
Random = Callable[[], float]


def with_jitter(seconds: float, random: Random) -> float:
    """Returns the seconds, up to `JITTER` longer or shorter."""
    return seconds * (1 + JITTER * (2 * random() - 1))


def delay(attempt_count: int, *, retry_after: float | None, random: Random) -> float:
    """Returns the seconds until the next attempt, after `attempt_count` (from 1) attempts that counted.

    `retry_after` is the receiver's Retry-After in seconds; None for none. It lengthens the delay and never shortens it.
    """
    scheduled = with_jitter(DELAYS[attempt_count - 1], random)
    return max(scheduled, bounded(retry_after))


def bounded(retry_after: float | None) -> float:
    """Returns the seconds of a Retry-After within limits; 0 for None."""
    return min(max(retry_after or 0.0, 0.0), MAX_RETRY_AFTER)
