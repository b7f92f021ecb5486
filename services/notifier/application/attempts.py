"""Records what an attempt came to: the delivery's next step, the endpoint's health, the notice to other endpoints."""

import random
from dataclasses import dataclass, replace

from common.sql import Connection
from services.notifier.application.payloads import notice_data
from services.notifier.domain import deliveries as delivery_rules
from services.notifier.domain import health as health_rules
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.deliveries import ClaimedDelivery, DeliveryState, NextStep
from services.notifier.domain.endpoints import Endpoint, Kind
from services.notifier.domain.health import EndpointHealth, Notice
from services.notifier.domain.retry_schedule import Random
from services.notifier.store import claims, endpoints, job_order, notices, outcomes, readiness

_RANDOM: Random = random.random


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What recording an outcome changed."""

    #: State of the delivery; None if the lease was lost, and nothing was recorded.
    state: DeliveryState | None
    #: Notice that was created; None for none.
    notice: Notice | None = None


def record(
    connection: Connection, delivery: ClaimedDelivery, outcome: AttemptOutcome, *, jitter: Random = _RANDOM
) -> Recorded:
    """Records the outcome of an attempt, unless the lease that it was made under is lost."""
    if (found := endpoints.lock_now(connection, delivery.endpoint_id)) is None:
        return Recorded(state=None)
    endpoint, now = found
    is_callback = endpoint.kind is Kind.CALLBACK
    health, notice = health_rules.after(
        endpoint.health, outcome, now, is_probe=delivery.is_probe, may_disable=not is_callback, random=jitter
    )
    step = delivery_rules.after(delivery, outcome, now, ends_on_gone=is_callback, random=jitter)
    step = replace(step, state=_state(connection, delivery, step, health))
    if not outcomes.write(connection, delivery, outcome, step, now):
        return Recorded(state=None)
    if delivery.job_id is not None and step.state is not DeliveryState.PENDING:
        job_order.promote(connection, [(delivery.endpoint_id, delivery.job_id)])
    notice = None if is_callback else notice
    _finish(connection, endpoint, health, notice)
    return Recorded(state=step.state, notice=notice)


def _state(connection: Connection, delivery: ClaimedDelivery, step: NextStep, health: EndpointHealth) -> DeliveryState:
    if step.state is DeliveryState.DELIVERED:
        return step.state
    if delivery.job_id is not None and job_order.is_superseded(connection, delivery.id):
        return DeliveryState.SUPERSEDED
    if step.state is DeliveryState.PENDING and health.disabled_reason is not None:
        return DeliveryState.HELD
    return step.state


def _finish(connection: Connection, endpoint: Endpoint, health: EndpointHealth, notice: Notice | None) -> None:
    changed = endpoints.write_health(connection, endpoint.id, health)
    readiness.refresh(connection, [endpoint.id])
    if notice is not None:
        notices.add(
            connection, tenant=endpoint.tenant, endpoint_id=endpoint.id, notice=notice, data=notice_data(changed)
        )


def abandon_expired(connection: Connection, *, limit: int) -> int:
    """Records attempts whose process ended before it recorded the outcome; returns their number."""
    outcome = AttemptOutcome(
        duration_ms=round(claims.LEASE_SECONDS * 1_000),
        error=AttemptError.ABANDONED,
        message="The outcome of this attempt is not known: the process that made it ended.",
    )
    expired = claims.expired(connection, limit=limit)
    # In the order in which everybody locks several endpoints.
    ordered = sorted(expired, key=lambda delivery: delivery.endpoint_id)
    return sum(record(connection, delivery, outcome).state is not None for delivery in ordered)


def give_up(connection: Connection, delivery: ClaimedDelivery) -> None:
    """Fails a claimed delivery whose job job-service does not know any more: there is nothing to send."""
    readiness.lock(connection, [delivery.endpoint_id])
    if outcomes.is_held(connection, delivery):
        outcomes.end_without_attempt(connection, delivery)
        if delivery.job_id is not None:
            job_order.promote(connection, [(delivery.endpoint_id, delivery.job_id)])
        readiness.refresh(connection, [delivery.endpoint_id])
