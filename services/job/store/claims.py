"""Which jobs are due: the statements that choose work, fair between tenants, and never wait for each other."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from services.job.domain.jobs import Fence, Job
from services.job.store import rows
from services.job.store.jobs import from_row

# Tenants are found by hopping through the index, so one with 10,000 queued jobs costs as much as one with a single job.
# A tenant's turn is its number of jobs at generators plus the job's place in its own queue: least served goes first.
CHOOSE_DUE_JOBS = """
WITH RECURSIVE waiting AS (
    (SELECT tenant FROM jobs WHERE state = 'queued' ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT tenant FROM jobs WHERE state = 'queued' AND jobs.tenant > waiting.tenant ORDER BY tenant LIMIT 1)
    FROM waiting WHERE waiting.tenant IS NOT NULL
),
served AS (
    SELECT tenant, count(*) AS in_flight FROM jobs WHERE state IN ('processing', 'generating') GROUP BY tenant
),
due AS (
    SELECT job.id, job.priority, job.run_at, load.last_claimed_at,
        coalesce(served.in_flight, 0)
            + row_number() OVER (PARTITION BY waiting.tenant ORDER BY job.priority, job.run_at, job.id) AS turn
    FROM waiting
    LEFT JOIN served ON served.tenant = waiting.tenant
    LEFT JOIN tenant_load AS load ON load.tenant = waiting.tenant
    CROSS JOIN LATERAL (
        SELECT id, priority, run_at FROM jobs
        WHERE jobs.tenant = waiting.tenant AND state = 'queued' AND run_at <= clock_timestamp()
            AND provider = ANY(:providers)
        ORDER BY priority, run_at, id
        LIMIT least(CAST(:candidates AS bigint),
                    greatest(coalesce(load.max_in_flight, 1000000) - coalesce(served.in_flight, 0), 0))
    ) AS job
)
SELECT id FROM due ORDER BY turn, last_claimed_at NULLS FIRST, priority, run_at, id LIMIT :candidates
"""

LOCK_DUE_JOBS = """
SELECT jobs.* FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS chosen (id, place)
JOIN jobs ON jobs.id = chosen.id
WHERE jobs.state = 'queued' AND jobs.run_at <= clock_timestamp()
ORDER BY chosen.place LIMIT :most
FOR UPDATE OF jobs SKIP LOCKED
"""

REMEMBER_SERVED_TENANTS = """
INSERT INTO tenant_load (tenant, last_claimed_at)
SELECT tenant, clock_timestamp() FROM unnest(CAST(:tenants AS text[])) AS tenant ORDER BY tenant
ON CONFLICT (tenant) DO UPDATE SET last_claimed_at = excluded.last_claimed_at
"""

LOCK_DUE_UPLOADS = """
SELECT * FROM jobs
WHERE state = 'uploading' AND lease_token IS NULL AND run_at <= clock_timestamp()
ORDER BY run_at, id LIMIT :most
FOR UPDATE SKIP LOCKED
"""

WAIT_FOR_THE_SAME_TOKENS = """
SELECT pg_advisory_xact_lock(hashtextextended(CAST(token AS text), 0))
FROM (SELECT token FROM unnest(CAST(:tokens AS uuid[])) AS token ORDER BY token) AS asked
"""

RENEW_LEASES = """
UPDATE jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => :seconds)
FROM jsonb_to_recordset(CAST(:fences AS jsonb)) AS held (job_id text, claim_number integer, lease_token uuid)
WHERE jobs.id = held.job_id AND jobs.claim_number = held.claim_number AND jobs.lease_token = held.lease_token
RETURNING jobs.lease_token
"""

CANCELED_AMONG = """
SELECT id FROM jobs WHERE id = ANY(:ids) AND state = 'canceled'
"""


def wait_for_the_same(connection: Connection, tokens: Sequence[UUID]) -> None:
    """Let a claim that was asked twice at once be two claims, one after the other."""
    connection.execute(text(WAIT_FOR_THE_SAME_TOKENS), {"tokens": [str(token) for token in tokens]})


def lock_due_jobs(connection: Connection, *, most: int, providers: Sequence[str]) -> list[Job]:
    """Lock at most so many due jobs of these providers, in the order in which they are to be served."""
    candidates = 4 * most + 16
    chosen = connection.execute(
        text(CHOOSE_DUE_JOBS), {"providers": list(providers), "candidates": candidates}
    ).scalars()
    return _lock(connection, LOCK_DUE_JOBS, {"ids": list(chosen), "most": most})


def lock_due_uploads(connection: Connection, *, most: int) -> list[Job]:
    """Lock at most so many jobs whose images wait to be copied."""
    return _lock(connection, LOCK_DUE_UPLOADS, {"most": most})


def remember_served(connection: Connection, tenants: Collection[str]) -> None:
    """Note that these tenants had their turn. Their rows are locked until commit: call it last."""
    connection.execute(text(REMEMBER_SERVED_TENANTS), {"tenants": sorted(set(tenants))})


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
