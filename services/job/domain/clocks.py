"""Compares the database's clock, by which leases expire, with this process's monotonic clock."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """Bounds of the difference between the clocks; the query's duration makes it uncertain."""

    #: Time of the reading by the process's clock, in seconds.
    at: float
    #: Smallest possible difference (database minus process), in seconds.
    minimum: float
    #: Largest possible difference, in seconds.
    maximum: float


class ClockWatch:
    """Detects steps of the database's clock, as by an administrator or a failover to another server.

    `tolerance` is the largest drift in seconds that is not a step, within `window` seconds.
    """

    def __init__(self, *, tolerance: float, window: float) -> None:
        self._tolerance = tolerance
        self._window = window
        self._readings: deque[_Reading] = deque()

    def has_stepped(self, database_time: datetime, *, queried_at: float, received_at: float) -> bool:
        """Whether the difference changed since an earlier reading by more than the query's duration explains.

        `queried_at` and `received_at` are the process's clock in seconds, before and after the query.
        """
        seconds = (database_time - _EPOCH).total_seconds()
        reading = _Reading(at=received_at, minimum=seconds - received_at, maximum=seconds - queried_at)
        while self._readings and self._readings[0].at < received_at - self._window:
            self._readings.popleft()
        stepped = any(self._differ(reading, earlier) for earlier in self._readings)
        if stepped:
            # Reported once: later readings are compared with the new time.
            self._readings.clear()
        self._readings.append(reading)
        return stepped

    def _differ(self, reading: _Reading, earlier: _Reading) -> bool:
        return max(reading.minimum - earlier.maximum, earlier.minimum - reading.maximum) > self._tolerance
