"""Open calls of final jobs: each is followed to its end by one worker at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from services.job.domain.calls import ProviderCall
from services.job.store import calls

#: A call is followed for so long since it began; then its outcome is unknown for good.
LONGEST_SECONDS = 24 * 3600.0

# `intended` calls of a final job have no operation to follow: they come up once their worker's lease is over.
CLAIM_OPEN_CALLS = """
WITH due AS (
    SELECT call.id FROM provider_calls AS call
    JOIN jobs ON jobs.id = call.job_id
    WHERE call.phase IN ('intended', 'accepted') AND call.provider = ANY(:providers)
        AND jobs.state IN ('completed', 'failed', 'canceled')
        AND (call.phase = 'accepted' OR jobs.completed_at < clock_timestamp() - make_interval(secs => :seconds))
        AND (call.settle_expires_at IS NULL OR call.settle_expires_at < clock_timestamp())
    ORDER BY call.id LIMIT cardinality(CAST(:tokens AS uuid[]))
    FOR UPDATE OF call SKIP LOCKED
),
numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS place FROM due)
UPDATE provider_calls AS call SET
    settle_token = (CAST(:tokens AS uuid[]))[numbered.place],
    settle_expires_at = clock_timestamp() + make_interval(secs => :seconds)
FROM numbered, jobs WHERE call.id = numbered.id AND jobs.id = call.job_id
RETURNING call.id, call.settle_token, jobs.state = 'canceled' AS cancel, jobs.traceparent,
    greatest(:longest - extract(epoch FROM clock_timestamp() - call.created_at), 0) AS seconds_left
"""

RENEW_SETTLEMENTS = """
UPDATE provider_calls SET settle_expires_at = clock_timestamp() + make_interval(secs => :seconds)
WHERE settle_token = ANY(CAST(:tokens AS uuid[])) AND phase IN ('intended', 'accepted')
RETURNING settle_token
"""


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """A call in a worker's hands."""

    call: ProviderCall
    token: UUID
    cancel: bool
    traceparent: str | None
    #: How much longer its end is worth waiting for.
    seconds_left: float


def claim(
    connection: Connection, *, tokens: Sequence[UUID], providers: Sequence[str], seconds: float
) -> list[Settlement]:
    """Hold at most as many open calls of final jobs as there are tokens."""
    parameters = {
        "tokens": [str(token) for token in tokens],
        "providers": list(providers),
        "seconds": seconds,
        "longest": LONGEST_SECONDS,
    }
    found = connection.execute(text(CLAIM_OPEN_CALLS), parameters).all()
    held = []
    for row in found:
        call = calls.get(connection, row.id)
        assert call is not None
        held.append(
            Settlement(
                call=call,
                token=row.settle_token,
                cancel=row.cancel,
                traceparent=row.traceparent,
                seconds_left=float(row.seconds_left),
            )
        )
    return held


def renew(connection: Connection, tokens: Sequence[UUID], *, seconds: float) -> set[str]:
    """Prolong settlements that are still held; returns their tokens."""
    parameters: dict[str, object] = {"tokens": [str(token) for token in tokens], "seconds": seconds}
    return {str(token) for token in connection.execute(text(RENEW_SETTLEMENTS), parameters).scalars()}
