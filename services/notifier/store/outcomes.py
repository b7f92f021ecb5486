"""Writes what became of an attempt: the delivery, and the row of `webhook_attempts`."""

from datetime import datetime, timedelta
from uuid import UUID

from common.sql import Connection, Row, text
from services.notifier.domain.attempts import MAX_RESPONSE, AttemptError, AttemptOutcome, DeliveryAttempt
from services.notifier.domain.deliveries import ClaimedDelivery, DeliveryState, NextStep

#: Attempts of a delivery that are kept.
MAX_ATTEMPTS_KEPT = 50
#: Characters of a message that are kept.
MAX_MESSAGE = 500

# Only under the lease that the attempt was made under.
WRITE = """
WITH written AS (
    UPDATE webhook_deliveries SET
        state = :state, attempt_count = :attempt_count, attempts_made = attempts_made + 1, due_at = :due_at,
        ended_at = :ended_at, lease_token = NULL, leased_until = NULL, is_probe = false
    WHERE id = :id AND lease_token = :lease_token
    RETURNING id, attempts_made
)
INSERT INTO webhook_attempts
    (delivery_id, number, started_at, duration_ms, status, error, message, response, is_probe)
SELECT id, attempts_made, :started_at, :duration_ms, CAST(:status AS integer), :error, :message, :response, :is_probe
FROM written
RETURNING number
"""

END_WITHOUT_ATTEMPT = """
UPDATE webhook_deliveries SET
    state = 'failed', ended_at = clock_timestamp(), lease_token = NULL, leased_until = NULL, is_probe = false
WHERE id = :id AND lease_token = :lease_token
"""

IS_HELD = "SELECT EXISTS (SELECT FROM webhook_deliveries WHERE id = :id AND lease_token = :lease_token)"

ATTEMPTS = "SELECT * FROM webhook_attempts WHERE delivery_id = :delivery_id ORDER BY number"


def is_held(connection: Connection, delivery: ClaimedDelivery) -> bool:
    """Returns whether a claim still holds its lease."""
    parameters = {"id": delivery.id, "lease_token": delivery.lease_token}
    held: bool = connection.execute(text(IS_HELD), parameters).scalar_one()
    return held


def write(
    connection: Connection, delivery: ClaimedDelivery, outcome: AttemptOutcome, step: NextStep, now: datetime
) -> bool:
    """Ends the lease of a delivery, and records its attempt; returns False if the lease is lost."""
    parameters = {
        "id": delivery.id,
        "lease_token": delivery.lease_token,
        "state": step.state,
        "attempt_count": step.attempt_count,
        "due_at": step.due_at if step.state is DeliveryState.PENDING else None,
        "ended_at": None if step.state is DeliveryState.PENDING else now,
        "is_probe": delivery.is_probe,
    }
    number = connection.execute(text(WRITE), parameters | _attempt(outcome, now)).scalar()
    if number is not None and number > MAX_ATTEMPTS_KEPT:
        statement = text("DELETE FROM webhook_attempts WHERE delivery_id = :delivery_id AND number <= :oldest")
        connection.execute(statement, {"delivery_id": delivery.id, "oldest": number - MAX_ATTEMPTS_KEPT})
    return number is not None


def _attempt(outcome: AttemptOutcome, now: datetime) -> dict[str, object]:
    return {
        "started_at": now - timedelta(milliseconds=outcome.duration_ms),
        "duration_ms": outcome.duration_ms,
        "status": outcome.status,
        "error": outcome.error,
        # PostgreSQL stores no NUL, and what cannot be recorded would be sent again for ever.
        "message": _storable(outcome.message)[:MAX_MESSAGE],
        "response": _storable(outcome.response)[:MAX_RESPONSE],
    }


def end_without_attempt(connection: Connection, delivery: ClaimedDelivery) -> None:
    """Ends the lease of a delivery that is held; the delivery has failed."""
    connection.execute(text(END_WITHOUT_ATTEMPT), {"id": delivery.id, "lease_token": delivery.lease_token})


def attempts(connection: Connection, delivery_id: UUID) -> list[DeliveryAttempt]:
    """Returns the last attempts of a delivery, oldest first."""
    found = connection.execute(text(ATTEMPTS), {"delivery_id": delivery_id}).mappings()
    return [attempt_from(row, is_probe=row["is_probe"]) for row in found]


def attempt_from(row: Row, *, is_probe: bool) -> DeliveryAttempt:
    """Returns the attempt of a row with the columns of `webhook_attempts`."""
    outcome = AttemptOutcome(
        duration_ms=row["duration_ms"],
        status=row["status"],
        error=None if row["error"] is None else AttemptError(row["error"]),
        message=row["message"],
        response=row["response"],
    )
    return DeliveryAttempt(number=row["number"], started_at=row["started_at"], is_probe=is_probe, outcome=outcome)


def _storable(value: str) -> str:
    return value.replace("\x00", "").encode(errors="replace").decode()
