"""What a tenant may have at once and ask in a minute; whoever knows its callers says how much."""

from dataclasses import dataclass

#: Seconds after which a full set of jobs is worth asking about again.
FULL_SECONDS = 5.0
#: Length in seconds of the window that `requests_per_minute` is about.
WINDOW = 60.0


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Bounds of a tenant; None bounds nothing."""

    max_in_flight: int | None = None
    max_queued: int | None = None
    max_high_priority: int | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How a tenant stands: requests that it may make now, and seconds until it may make all of them again."""

    remaining: int
    reset_seconds: float


def rate(per_minute: int, *, full_in: float) -> Rate:
    """How a tenant stands whose allowance is full again in so many seconds."""
    used = max(full_in, 0.0) * per_minute / WINDOW
    return Rate(remaining=max(int(per_minute - used + 1e-6), 0), reset_seconds=max(full_in, 0.0))


def wait(per_minute: int, *, full_in: float) -> float:
    """Seconds until one more request is allowed."""
    return WINDOW if per_minute < 1 else max(full_in + WINDOW / per_minute - WINDOW, 0.0)
