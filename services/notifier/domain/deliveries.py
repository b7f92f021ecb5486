"""Deliveries: one event for one endpoint, and what an attempt makes of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.notifier.domain.attempts import AttemptOutcome, DeliveryAttempt
from services.notifier.domain.endpoints import SignatureScheme, SlotShare
from services.notifier.domain.retry_schedule import MAX_ATTEMPTS, OWN_FAULT_DELAY, Random, bounded, delay, with_jitter


class DeliveryState(StrEnum):
    """State of a delivery."""

    #: Due at `due_at`.
    PENDING = "pending"
    #: Behind an earlier event of the same job at the same endpoint.
    WAITING = "waiting"
    #: An attempt is under way, under a lease.
    SENDING = "sending"
    #: The receiver returned a 2xx status.
    DELIVERED = "delivered"
    #: A later final event of the same job made it unnecessary.
    SUPERSEDED = "superseded"
    #: All attempts failed.
    FAILED = "failed"
    #: Its endpoint is or was disabled; it can be redelivered.
    HELD = "held"


#: States that an attempt or a later event can still change.
UNDELIVERED = frozenset({DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.HELD})


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that a process holds under a lease, with what an attempt needs."""

    #: Id; `msg_` and its hexadecimal digits are the header `webhook-id`.
    id: UUID
    #: Endpoint, or origin of callback URLs.
    endpoint_id: UUID
    #: Owner.
    tenant: str
    #: URL to post to.
    url: str
    #: How it is signed.
    scheme: SignatureScheme
    #: Event type.
    event_type: str
    #: Job of the event; None for events of endpoints.
    job_id: str | None
    #: The job's sequence after the event; None without a job.
    sequence: int | None
    #: When the event occurred.
    occurred_at: datetime
    #: JSON of `data` for events of endpoints; None for events of jobs.
    data: str | None
    #: Attempts so far that count.
    attempt_count: int
    #: Whether the attempt is a probe of a degraded endpoint.
    is_probe: bool
    #: Part of a process's slots that the attempt fills.
    share: SlotShare
    #: Token of the lease; the outcome is recorded only while it is the current one.
    lease_token: UUID


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A delivery as its tenant sees it."""

    #: Id; `msg_` and its hexadecimal digits are the header `webhook-id`.
    id: UUID
    #: Endpoint; None for the callback URL of a job.
    endpoint_id: UUID | None
    #: URL that the event is posted to.
    url: str
    #: Event type.
    event_type: str
    #: Job of the event; None for events of endpoints.
    job_id: str | None
    #: The job's sequence after the event; None without a job.
    sequence: int | None
    #: State; see `visible_state`.
    state: DeliveryState
    #: Attempts so far that count.
    attempt_count: int
    #: When the event occurred.
    occurred_at: datetime
    #: When the delivery was created.
    created_at: datetime
    #: When the next attempt is due; None unless PENDING, and behind an earlier event of the job.
    next_attempt_at: datetime | None
    #: When it was delivered; None unless DELIVERED.
    delivered_at: datetime | None
    #: The last attempt; None before the first.
    last_attempt: DeliveryAttempt | None


def visible_state(state: DeliveryState, *, is_disabled: bool) -> DeliveryState:
    """Returns the state that a tenant sees: never WAITING, and HELD for what a disabled endpoint does not get."""
    if state in (DeliveryState.PENDING, DeliveryState.WAITING):
        return DeliveryState.HELD if is_disabled else DeliveryState.PENDING
    return state


def stored_states(visible: DeliveryState, *, is_disabled: bool) -> tuple[DeliveryState, ...]:
    """Returns the states that `visible_state` returns this one for; none if there is no such state."""
    return tuple(state for state in DeliveryState if visible_state(state, is_disabled=is_disabled) is visible)


@dataclass(frozen=True, kw_only=True)
class NextStep:
    """What becomes of a delivery after an attempt."""

    #: DELIVERED, FAILED or PENDING.
    state: DeliveryState
    #: Attempts that count, the last one included if it does.
    attempt_count: int
    #: When the next attempt is due; None unless PENDING.
    due_at: datetime | None = None


def after(
    delivery: ClaimedDelivery, outcome: AttemptOutcome, now: datetime, *, ends_on_gone: bool, random: Random
) -> NextStep:
    """Returns what becomes of a delivery after an attempt.

    `ends_on_gone`: status 410 ends the delivery alone, as for a callback URL; otherwise it disables the endpoint, and
    the delivery is held. The caller decides whether a later event supersedes a delivery that is PENDING again.
    """
    if outcome.is_success:
        return NextStep(state=DeliveryState.DELIVERED, attempt_count=delivery.attempt_count + 1)
    ends = ends_on_gone and outcome.is_gone
    if not ends and (outcome.is_own_fault or delivery.is_probe):
        # A probe's delivery waits for the breaker.
        wait = with_jitter(OWN_FAULT_DELAY, random) if outcome.is_own_fault else bounded(outcome.retry_after)
        due_at = now + timedelta(seconds=wait)
        return NextStep(state=DeliveryState.PENDING, attempt_count=delivery.attempt_count, due_at=due_at)
    counted = delivery.attempt_count + 1
    if ends or counted >= MAX_ATTEMPTS:
        return NextStep(state=DeliveryState.FAILED, attempt_count=counted)
    seconds = delay(counted, retry_after=outcome.retry_after, random=random)
    return NextStep(state=DeliveryState.PENDING, attempt_count=counted, due_at=now + timedelta(seconds=seconds))
