"""Quotas of a tenant, which the gateway sends with its calls: jobs at once and requests per minute."""

from dataclasses import dataclass

#: `retry_after_seconds` when too many jobs wait or run.
FULL_SECONDS = 5.0
#: Length in seconds of the window of `requests_per_minute`.
WINDOW = 60.0


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Limits of a tenant; None is no limit."""

    #: Jobs at generators at once.
    max_in_flight: int | None = None
    #: Jobs in QUEUED.
    max_queued: int | None = None
    #: Jobs of high priority that are queued or at a generator.
    max_high_priority: int | None = None
    #: Requests within a minute.
    requests_per_minute: int | None = None


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Current request rate of a tenant."""

    #: Requests that it may make now.
    remaining: int
    #: Seconds until it may make `requests_per_minute` requests again.
    reset_seconds: float


def rate(per_minute: int, *, full_in: float) -> Rate:
    """Returns the rate of a tenant whose allowance is full again in `full_in` seconds."""
    used = max(full_in, 0.0) * per_minute / WINDOW
    return Rate(remaining=max(int(per_minute - used + 1e-6), 0), reset_seconds=max(full_in, 0.0))


def wait(per_minute: int, *, full_in: float) -> float:
    """Returns the seconds until one more request is allowed."""
    return WINDOW if per_minute < 1 else max(full_in + WINDOW / per_minute - WINDOW, 0.0)
