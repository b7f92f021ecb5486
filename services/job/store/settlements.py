"""Settle work: open calls of final jobs, each polled by one worker at a time until it has ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from common.sql import Connection, text
from services.job.domain.calls import ProviderCall
from services.job.domain.jobs import ProviderCancel
from services.job.store import calls
from services.job.store.rows import FINAL_STATES

#: Age in seconds up to which a call is followed; then its outcome stays unknown.
LONGEST_SECONDS = 24 * 3600.0
#: Further seconds for a worker to settle such a call; then job-service settles it.
GRACE_SECONDS = 600.0
#: Calls of one provider that a worker holds at once: polls without a response use no more of its slots.
MAX_PER_PROVIDER = 8
#: Shortest and longest seconds between two polls, and the factor by which each wait grows.
SHORTEST_PAUSE, LONGEST_PAUSE, GROWTH = 0.1, 60.0, 1.2

_DUE = """call.phase IN ('intended', 'accepted')
    AND (call.settle_expires_at IS NULL OR call.settle_expires_at < clock_timestamp())
    AND (call.next_look_at IS NULL OR call.next_look_at <= clock_timestamp())"""

# `intended` calls of a final job have no operation to follow: they are due once their worker's lease has ended. Calls
# that have yet to be canceled come first; providers take turns.
CLAIM_OPEN_CALLS = f"""
WITH held AS (
    SELECT provider, count(*) AS calls FROM provider_calls
    WHERE phase IN ('intended', 'accepted') AND settle_worker = :worker AND settle_expires_at > clock_timestamp()
    GROUP BY provider
),
due AS (
    SELECT call.id, call.provider, jobs.state = 'canceled' AND call.cancel_answer IS NULL AS must_be_canceled,
        coalesce(call.next_look_at, call.created_at) AS due_at
    FROM provider_calls AS call JOIN jobs ON jobs.id = call.job_id
    WHERE {_DUE} AND call.provider = ANY(:providers)
        AND jobs.state IN {FINAL_STATES}
        AND (call.phase = 'accepted' OR jobs.completed_at < clock_timestamp() - make_interval(secs => :seconds))
),
in_turn AS (
    SELECT due.*, coalesce(held.calls, 0)
        + row_number() OVER (PARTITION BY provider ORDER BY must_be_canceled DESC, due_at, id) AS turn
    FROM due LEFT JOIN held USING (provider)
),
chosen AS (
    SELECT call.id FROM in_turn JOIN provider_calls AS call USING (id)
    WHERE {_DUE} AND in_turn.turn <= :max_per_provider
    ORDER BY must_be_canceled DESC, turn, due_at, id LIMIT cardinality(CAST(:tokens AS uuid[]))
    FOR UPDATE OF call SKIP LOCKED
),
numbered AS (SELECT id, row_number() OVER () AS position FROM chosen)
UPDATE provider_calls AS call SET
    settle_token = (CAST(:tokens AS uuid[]))[numbered.position],
    settle_worker = :worker,
    settle_expires_at = clock_timestamp() + make_interval(secs => :seconds)
FROM numbered, jobs WHERE call.id = numbered.id AND jobs.id = call.job_id
RETURNING call.id, call.settle_token, call.cancel_answer, jobs.state = 'canceled' AS cancel,
    jobs.state = 'failed' AND jobs.deleted_at IS NULL AS keep, jobs.traceparent, jobs.tenant,
    greatest(:longest - extract(epoch FROM clock_timestamp() - call.created_at), 0) AS seconds_left
"""  # noqa: S608

POSTPONE = """
UPDATE provider_calls SET
    settle_token = NULL, settle_worker = NULL, settle_expires_at = NULL,
    settle_looks = coalesce(settle_looks, 0) + 1,
    cancel_answer = coalesce(:cancel_outcome, cancel_answer),
    next_look_at = clock_timestamp() + make_interval(secs =>
        least(greatest(:pause, :shortest) * power(:growth, least(coalesce(settle_looks, 0), 50)), :longest))
WHERE settle_token = CAST(:token AS uuid) AND phase IN ('intended', 'accepted')
"""

RENEW_SETTLEMENTS = """
UPDATE provider_calls SET settle_expires_at = clock_timestamp() + make_interval(secs => :seconds)
WHERE settle_token = ANY(CAST(:tokens AS uuid[])) AND phase IN ('intended', 'accepted')
RETURNING settle_token
"""

# No generator offers the provider any more, or none polls it.
FIND_ABANDONED_CALLS = f"""
SELECT call.job_id, call.id
FROM provider_calls AS call JOIN jobs ON jobs.id = call.job_id
WHERE call.phase IN ('intended', 'accepted') AND jobs.state IN {FINAL_STATES}
    AND call.created_at < clock_timestamp() - make_interval(secs => :seconds)
    AND (call.settle_expires_at IS NULL OR call.settle_expires_at < clock_timestamp())
ORDER BY call.id LIMIT :limit
"""  # noqa: S608


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """An open call of a final job, held by a worker."""

    #: The open call.
    call: ProviderCall
    #: Chosen by the worker for this claim.
    token: UUID
    #: Whether the job was canceled, so that the call is to be canceled.
    cancel: bool
    #: Whether the job failed and can be retried, so that the call's images are to be staged.
    keep: bool
    #: The provider's response to the cancel; None before it.
    cancel_outcome: ProviderCancel | None
    #: W3C trace context of the job; None without tracing.
    traceparent: str | None
    #: Seconds until its outcome counts as unknown.
    seconds_left: float
    #: Owner of the job.
    tenant: str


def claim(
    connection: Connection, *, worker: str, tokens: Sequence[UUID], providers: Sequence[str], seconds: float
) -> list[Settlement]:
    """Claims open calls of final jobs, at most one per token and `MAX_PER_PROVIDER` per provider, for `seconds`."""
    parameters = {
        "worker": worker,
        "tokens": [str(token) for token in tokens],
        "providers": list(providers),
        "seconds": seconds,
        "longest": LONGEST_SECONDS,
        "max_per_provider": MAX_PER_PROVIDER,
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
                keep=row.keep,
                cancel_outcome=None if row.cancel_answer is None else ProviderCancel(row.cancel_answer),
                traceparent=row.traceparent,
                seconds_left=float(row.seconds_left),
                tenant=row.tenant,
            )
        )
    return held


def postpone(connection: Connection, token: UUID, *, cancel_outcome: ProviderCancel | None, pause: float) -> bool:
    """Releases a call that has not ended until its next poll, at least `pause` seconds away; whether it was held.

    `cancel_outcome` is the provider's response to the cancel; None keeps the recorded one.
    """
    parameters = {
        "token": str(token),
        "cancel_outcome": cancel_outcome,
        "pause": pause,
        "shortest": SHORTEST_PAUSE,
        "longest": LONGEST_PAUSE,
        "growth": GROWTH,
    }
    return connection.execute(text(POSTPONE), parameters).rowcount > 0


def renew(connection: Connection, tokens: Sequence[UUID], *, seconds: float) -> set[str]:
    """Renews settlements that are still held, for `seconds` from now; returns their tokens."""
    parameters: dict[str, object] = {"tokens": [str(token) for token in tokens], "seconds": seconds}
    return {str(token) for token in connection.execute(text(RENEW_SETTLEMENTS), parameters).scalars()}


def abandoned_calls(connection: Connection, *, limit: int) -> list[tuple[str, str]]:
    """Returns (job id, call id) of open calls older than a day that no worker holds."""
    found = connection.execute(text(FIND_ABANDONED_CALLS), {"seconds": LONGEST_SECONDS + GRACE_SECONDS, "limit": limit})
    return [(row.job_id, row.id) for row in found]
