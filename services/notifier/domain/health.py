"""Health of an endpoint: what the outcome of an attempt changes, and when its circuit breaker opens.

While the breaker is open, deliveries wait and keep their attempts; after each pause a single attempt, the probe, checks
whether the receiver works again.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.notifier.domain.attempts import TIMEOUTS, AttemptError, AttemptOutcome
from services.notifier.domain.retry_schedule import Random, bounded, with_jitter

#: Points of a failure, and of a status that says that the receiver is overloaded.
FAILURE_POINTS, OVERLOAD_POINTS = 2, 1
#: Points of consecutive failures that open the breaker: five failures.
POINTS_TO_OPEN = 10
#: Length of a window, and the attempts and share of failures in one that open the breaker.
WINDOW = timedelta(minutes=5)
WINDOW_ATTEMPTS, WINDOW_SHARE = 10, 0.7
#: Seconds of the first and longest pause until a probe; each failed probe doubles the pause.
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 3600.0
#: Doublings of the pause that are computed; the longest pause is reached before.
MAX_DOUBLINGS = 16
#: Time of failure after which an endpoint is disabled, and the least time between its first and last failure.
DISABLED_AFTER, FAILURES_APART = timedelta(days=5), timedelta(hours=12)
#: Milliseconds of an attempt after which its endpoint counts as slow.
SLOW_MS = 2_000


class EndpointState(StrEnum):
    """Health of an endpoint."""

    #: The last attempt succeeded, or there was none.
    HEALTHY = "healthy"
    #: The last attempt failed.
    FAILING = "failing"
    #: The breaker is open.
    DEGRADED = "degraded"
    #: No attempts are made.
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled."""

    #: Its tenant disabled it.
    BY_TENANT = "by_tenant"
    #: The receiver returned status 410.
    GONE = "gone"
    #: All attempts failed for `DISABLED_AFTER`.
    FAILING = "failing"


class Notice(StrEnum):
    """A change of health that the tenant's other endpoints are notified of."""

    #: The breaker opened for the first time since the last success.
    DEGRADED = "webhook.degraded"
    #: The first success after `DEGRADED`.
    RECOVERED = "webhook.recovered"
    #: The endpoint was disabled, other than by its tenant.
    DISABLED = "webhook.disabled"


@dataclass(frozen=True, kw_only=True)
class EndpointHealth:
    """How deliveries to an endpoint fare."""

    #: Time of the first failure since the last success; None without a failure.
    failing_since: datetime | None = None
    #: Points of consecutive failures; 0 after a success.
    points: int = 0
    #: Begin of the window in which attempts are counted; None before the first attempt.
    window_started_at: datetime | None = None
    #: Attempts in the window.
    window_attempts: int = 0
    #: Points of failures in the window.
    window_points: int = 0
    #: Times that the breaker opened since the last success; above 0 it is open.
    openings: int = 0
    #: Time until which no attempt is made, because of the breaker or a Retry-After; None for no such time.
    blocked_until: datetime | None = None
    #: Whether the endpoint gets only a small share of the capacity: until its first success, and while it is slow.
    is_slow: bool = True
    #: Class of the last failure since the last success; None without one.
    last_error: AttemptError | None = None
    #: HTTP status of the last failure; None without a response.
    last_status: int | None = None
    #: Why the endpoint is disabled; None while it is enabled.
    disabled_reason: DisabledReason | None = None
    #: Time at which it was disabled; None while it is enabled.
    disabled_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open, so that only probes are attempted."""
        return self.openings > 0

    @property
    def state(self) -> EndpointState:
        """The state that is shown."""
        if self.disabled_reason is not None:
            return EndpointState.DISABLED
        if self.is_open:
            return EndpointState.DEGRADED
        return EndpointState.HEALTHY if self.failing_since is None else EndpointState.FAILING

    @property
    def will_disable_at(self) -> datetime | None:
        """Time after which the next failure disables the endpoint; None while healthy or disabled."""
        if self.failing_since is None or self.disabled_reason is not None:
            return None
        return self.failing_since + DISABLED_AFTER


def disable(health: EndpointHealth, reason: DisabledReason, now: datetime) -> EndpointHealth:
    """Returns the health of an endpoint that is disabled now."""
    return replace(health, disabled_reason=reason, disabled_at=now, blocked_until=None)


def enable() -> EndpointHealth:
    """Returns the health of an endpoint that was enabled again: as of a new one."""
    return EndpointHealth()


def after(
    health: EndpointHealth, outcome: AttemptOutcome, now: datetime, *, is_probe: bool, may_disable: bool, random: Random
) -> tuple[EndpointHealth, Notice | None]:
    """Returns the health after an attempt, and the notice that the change calls for, if any.

    `may_disable` is False for the origin of callback URLs, which has no settings that a tenant could change.
    """
    if outcome.is_own_fault or health.disabled_reason is not None:
        return health, None
    if outcome.is_success:
        return _after_success(health, outcome, now), Notice.RECOVERED if health.is_open else None
    failed = _after_failure(health, outcome, now)
    if may_disable and outcome.is_gone:
        return disable(failed, DisabledReason.GONE, now), Notice.DISABLED
    if may_disable and _has_failed_too_long(failed, now):
        return disable(failed, DisabledReason.FAILING, now), Notice.DISABLED
    paused = replace(failed, blocked_until=_later(failed.blocked_until, now, _requested_pause(outcome)))
    if health.is_open:
        # Attempts that were under way when the breaker opened do not lengthen its pause.
        return _opened(paused, now, random) if is_probe else paused, None
    return (_opened(paused, now, random), Notice.DEGRADED) if _opens(failed) else (paused, None)


def _opened(health: EndpointHealth, now: datetime, random: Random) -> EndpointHealth:
    """Opens the breaker, or opens it again for a longer pause."""
    # No exponent that overflows, however often it opened.
    pause = min(FIRST_PAUSE * 2 ** min(health.openings, MAX_DOUBLINGS), LONGEST_PAUSE)
    until = _later(health.blocked_until, now, with_jitter(pause, random))
    return replace(health, openings=health.openings + 1, blocked_until=until, is_slow=True)


def _later(until: datetime | None, now: datetime, seconds: float) -> datetime | None:
    """Returns the later end of two pauses: one that is known, and one of `seconds` from now (0 for none)."""
    if seconds <= 0:
        return until
    ends_at = now + timedelta(seconds=seconds)
    return ends_at if until is None else max(until, ends_at)


def _after_success(health: EndpointHealth, outcome: AttemptOutcome, now: datetime) -> EndpointHealth:
    """The window continues: single successes must not hide that most attempts fail. After a probe it starts anew.

    A Retry-After stays: another attempt got it at the same time.
    """
    counted = _counted(EndpointHealth() if health.is_open else health, points=0, now=now)
    return EndpointHealth(
        blocked_until=None if health.is_open else health.blocked_until,
        window_started_at=counted.window_started_at,
        window_attempts=counted.window_attempts,
        window_points=counted.window_points,
        is_slow=outcome.duration_ms > SLOW_MS,
    )


def _after_failure(health: EndpointHealth, outcome: AttemptOutcome, now: datetime) -> EndpointHealth:
    points = OVERLOAD_POINTS if outcome.is_overload else FAILURE_POINTS
    return replace(
        _counted(health, points=points, now=now),
        failing_since=health.failing_since or now,
        points=health.points + points,
        is_slow=health.is_slow or outcome.error in TIMEOUTS or outcome.duration_ms > SLOW_MS,
        last_error=outcome.error,
        last_status=outcome.status,
    )


def _counted(health: EndpointHealth, *, points: int, now: datetime) -> EndpointHealth:
    """Counts an attempt in the current window, or in a new one."""
    if health.window_started_at is None or now - health.window_started_at >= WINDOW:
        return replace(health, window_started_at=now, window_attempts=1, window_points=points)
    return replace(health, window_attempts=health.window_attempts + 1, window_points=health.window_points + points)


def _opens(health: EndpointHealth) -> bool:
    if health.points >= POINTS_TO_OPEN:
        return True
    failed = health.window_points / FAILURE_POINTS
    return health.window_attempts >= WINDOW_ATTEMPTS and failed >= WINDOW_SHARE * health.window_attempts


def _has_failed_too_long(health: EndpointHealth, now: datetime) -> bool:
    since = health.failing_since
    return since is not None and now - since >= max(DISABLED_AFTER, FAILURES_APART)


def _requested_pause(outcome: AttemptOutcome) -> float:
    """Seconds for which an overloaded receiver asked to get nothing at all; 0 for none."""
    return bounded(outcome.retry_after) if outcome.is_overload else 0.0
