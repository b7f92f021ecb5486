"""Which jobs are due: the statements that choose work, fair between tenants, and keep its leases."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import Connection, text

from services.job.domain.jobs import Fence, Job
from services.job.store import rows
from services.job.store.jobs import from_row
from services.job.store.lanes import PRIORITIES, Lane

# Places at the provider, and one for a job that tries whether it is well again, are the limit. A tenant's turn is its
# number of jobs at generators plus the job's place in its own queue: least served goes first. Each priority is looked
# at by itself: jobs of one that wait for their time would have to be passed by on the way to the next.
CHOOSE_DUE_JOBS = """
WITH open_lanes AS (
    SELECT * FROM jsonb_to_recordset(CAST(:lanes AS jsonb)) AS one (
        tenant text, provider text, model text, fallback text[], by_provider text, by_model text, places bigint,
        tries bigint, last_claimed_at timestamptz, in_flight bigint, max_in_flight bigint)
),
due AS (
    SELECT job.*, lane.by_provider, lane.by_model, lane.places, lane.tries, lane.last_claimed_at, lane.max_in_flight,
        lane.in_flight
            + row_number() OVER (PARTITION BY lane.tenant ORDER BY job.priority, job.run_at, job.id) AS turn
    FROM open_lanes AS lane
    CROSS JOIN LATERAL (
        SELECT first.* FROM unnest(CAST(:priorities AS smallint[])) AS level (priority) CROSS JOIN LATERAL (
            SELECT id, priority, run_at FROM jobs
            WHERE state = 'queued' AND jobs.tenant = lane.tenant AND jobs.provider = lane.provider
                AND jobs.model = lane.model AND jobs.fallback = lane.fallback
                AND jobs.priority = level.priority AND run_at <= clock_timestamp()
            ORDER BY run_at, id LIMIT CAST(:per_lane AS bigint)
        ) AS first
        ORDER BY priority, run_at, id
        LIMIT least(CAST(:per_lane AS bigint), lane.places, lane.tries,
                    greatest(lane.max_in_flight - lane.in_flight, 0))
    ) AS job
),
placed AS (
    SELECT *,
        row_number() OVER (PARTITION BY by_provider ORDER BY turn, last_claimed_at NULLS FIRST, priority, run_at, id)
            AS place,
        row_number() OVER (
            PARTITION BY by_provider, by_model ORDER BY turn, last_claimed_at NULLS FIRST, priority, run_at, id
        ) AS try
    FROM due WHERE turn <= max_in_flight
)
SELECT id FROM placed WHERE place <= places AND try <= tries
ORDER BY turn, last_claimed_at NULLS FIRST, priority, run_at, id LIMIT :candidates
"""

# Everybody waits for whoever holds this lock, who waits for nobody: what is locked is passed by, and should something
# wait after all, it fails soon. A process that is frozen inside a claim loses its connection.
ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended('claim', 0)),
    set_config('lock_timeout', '50ms', true), set_config('idle_in_transaction_session_timeout', '2s', true)
"""

# What waits at the provider only has to be fetched: an operation under way, or a result that is missing here.
LOCK_JOBS_TO_FOLLOW = """
SELECT jobs.* FROM jobs
WHERE state = 'queued' AND claim_number > 0 AND run_at <= clock_timestamp() AND provider = ANY(:served_by)
    AND EXISTS (
        SELECT FROM provider_calls AS call
        WHERE call.job_id = jobs.id AND call.provider = ANY(:served_by) AND call.operation_id IS NOT NULL
            AND (call.phase = 'accepted' OR call.phase IN ('succeeded', 'unknown') AND EXISTS (
                SELECT FROM unnest(call.image_indexes) AS bought (index)
                WHERE NOT EXISTS (
                    SELECT FROM artifacts WHERE artifacts.job_id = jobs.id AND artifacts.image_index = bought.index))))
ORDER BY run_at, id LIMIT :limit
FOR UPDATE OF jobs SKIP LOCKED
"""

LOCK_DUE_JOBS = """
SELECT jobs.* FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS chosen (id, place)
JOIN jobs ON jobs.id = chosen.id
WHERE jobs.state = 'queued' AND jobs.run_at <= clock_timestamp()
ORDER BY chosen.place LIMIT :limit
FOR UPDATE OF jobs SKIP LOCKED
"""

LOCK_DUE_UPLOADS = """
SELECT * FROM jobs
WHERE state = 'uploading' AND lease_token IS NULL AND run_at <= clock_timestamp()
ORDER BY run_at, id LIMIT :limit
FOR UPDATE SKIP LOCKED
"""

WAIT_FOR_THE_SAME_TOKENS = """
SELECT pg_advisory_xact_lock(hashtextextended(CAST(token AS text), 0))
FROM (SELECT token FROM unnest(CAST(:tokens AS uuid[])) AS token ORDER BY token) AS asked
"""

# Locked in the order of their ids, as everybody who locks several jobs does.
RENEW_LEASES = """
WITH held AS (
    SELECT jobs.id FROM jobs
    JOIN jsonb_to_recordset(CAST(:fences AS jsonb)) AS told (job_id text, claim_number integer, lease_token uuid)
        ON jobs.id = told.job_id AND jobs.claim_number = told.claim_number AND jobs.lease_token = told.lease_token
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => :seconds)
FROM held WHERE jobs.id = held.id
RETURNING jobs.lease_token
"""

CANCELED_AMONG = """
SELECT id FROM jobs WHERE id = ANY(:ids) AND state = 'canceled'
"""


def lock_tokens(connection: Connection, tokens: Sequence[UUID]) -> None:
    """Let a claim that was asked twice at once be two claims, one after the other."""
    connection.execute(text(WAIT_FOR_THE_SAME_TOKENS), {"tokens": [str(token) for token in tokens]})


def lock_claiming(connection: Connection) -> None:
    """Let generators choose one after the other, until commit: limits that two count at once are exceeded by both."""
    connection.execute(text(ONE_AT_A_TIME))


def lock_jobs_to_follow(connection: Connection, *, limit: int, served_by: Collection[str]) -> list[Job]:
    """Lock at most so many due jobs for which these providers are at work already: no limit or breaker bars them."""
    return _lock(connection, LOCK_JOBS_TO_FOLLOW, {"limit": limit, "served_by": list(served_by)})


def lock_due_jobs(connection: Connection, seen: Sequence[Lane], *, limit: int) -> list[Job]:
    """Lock at most so many due jobs of these lanes, in the order in which they are to be served."""
    told = {
        "lanes": rows.as_parameter([asdict(one) for one in seen]),
        "priorities": PRIORITIES,
        # Somebody may hold a few of them, to cancel or rescue them.
        "per_lane": limit + 4,
        "candidates": 4 * limit + 16,
    }
    chosen = connection.execute(text(CHOOSE_DUE_JOBS), told).scalars()
    return _lock(connection, LOCK_DUE_JOBS, {"ids": list(chosen), "limit": limit})


def lock_due_uploads(connection: Connection, *, limit: int) -> list[Job]:
    """Lock at most so many jobs whose images wait to be copied."""
    return _lock(connection, LOCK_DUE_UPLOADS, {"limit": limit})


def renew(connection: Connection, fences: Sequence[Fence], *, seconds: float) -> set[str]:
    """Prolong leases that are still held; returns their tokens."""
    held = rows.as_parameter([rows.to_json(fence) for fence in fences])
    return {
        str(token) for token in connection.execute(text(RENEW_LEASES), {"fences": held, "seconds": seconds}).scalars()
    }


def canceled_among(connection: Connection, job_ids: Collection[str]) -> set[str]:
    """Which of the jobs were canceled."""
    return set(connection.execute(text(CANCELED_AMONG), {"ids": list(job_ids)}).scalars())


def _lock(connection: Connection, statement: str, parameters: dict[str, object]) -> list[Job]:
    return [from_row(row) for row in connection.execute(text(statement), parameters).mappings()]
