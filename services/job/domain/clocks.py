"""Two clocks that should go alike: the database's, which leases are measured by, and this process's own."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """The database's clock less our own is within these bounds, as its answer was under way for a while."""

    at: float
    least: float
    most: float


class ClockWatch:
    """Notices when the database's clock is set, or another database answers whose clock differs.

    `tolerance` and `window` in seconds: how far the clocks may part, within how long.
    """

    def __init__(self, *, tolerance: float, window: float) -> None:
        self._tolerance = tolerance
        self._window = window
        self._readings: deque[_Reading] = deque()

    def has_stepped(self, told: datetime, *, asked_at: float, answered_at: float) -> bool:
        """Whether the clocks parted since an earlier reading, by more than an answer's time on the way explains."""
        seconds = (told - _EPOCH).total_seconds()
        reading = _Reading(at=answered_at, least=seconds - answered_at, most=seconds - asked_at)
        while self._readings and self._readings[0].at < answered_at - self._window:
            self._readings.popleft()
        stepped = any(self._parted(reading, earlier) for earlier in self._readings)
        if stepped:
            # Told once: from here on the new time is the right one.
            self._readings.clear()
        self._readings.append(reading)
        return stepped

    def _parted(self, one: _Reading, other: _Reading) -> bool:
        return max(one.least - other.most, other.least - one.most) > self._tolerance
