"""Which jobs are due: the statements that choose work, fair between tenants, and never wait for each other."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from services.job.domain.jobs import Fence, Job
from services.job.domain.routing import Admission, Breaker
from services.job.store import rows
from services.job.store.jobs import from_row

# A lane is the queued jobs of one tenant that may go the same ways. Lanes are found by hopping through the index, so
# one of 10,000 jobs costs as much as one with a single job. The first way that no breaker bars serves the lane, if this
# generator can go it; places at the provider, and one for a job that tries whether it is well again, are the limit.
# A tenant's turn is its number of jobs at generators plus the job's place in its own queue: least served goes first.
CHOOSE_DUE_JOBS = """
WITH RECURSIVE lanes AS (
    (SELECT tenant, provider, model, fallback FROM jobs WHERE state = 'queued'
        ORDER BY tenant, provider, model, fallback LIMIT 1)
    UNION ALL
    SELECT following.* FROM lanes CROSS JOIN LATERAL (
        SELECT tenant, provider, model, fallback FROM jobs
        WHERE state = 'queued' AND (jobs.tenant, jobs.provider, jobs.model, jobs.fallback)
            > (lanes.tenant, lanes.provider, lanes.model, lanes.fallback)
        ORDER BY tenant, provider, model, fallback LIMIT 1
    ) AS following
),
known AS (
    SELECT * FROM jsonb_to_recordset(CAST(:known AS jsonb))
        AS one (provider text, default_model text, places bigint, is_mine boolean)
),
gates AS (SELECT * FROM jsonb_to_recordset(CAST(:gates AS jsonb)) AS one (provider text, model text, places bigint)),
served AS (
    SELECT tenant, count(*) AS in_flight FROM jobs WHERE state IN ('processing', 'generating') GROUP BY tenant
),
open_lanes AS (
    SELECT lanes.*, known.provider AS by_provider, route.model AS by_model, route.places AS tries,
        known.places, coalesce(served.in_flight, 0) AS in_flight, load.last_claimed_at,
        coalesce(load.max_in_flight, 1000000) AS max_in_flight
    FROM lanes
    CROSS JOIN LATERAL (
        SELECT step.provider, step.model, coalesce(gates.places, 1000000) AS places
        FROM (
            SELECT lanes.provider, lanes.model, 0 AS place
            UNION ALL
            SELECT name, known.default_model, fallback.place
            FROM unnest(lanes.fallback) WITH ORDINALITY AS fallback (name, place)
            JOIN known ON known.provider = name
        ) AS step
        LEFT JOIN gates ON gates.provider = step.provider AND gates.model = step.model
        WHERE coalesce(gates.places, 1) > 0
        ORDER BY step.place LIMIT 1
    ) AS route
    JOIN known ON known.provider = route.provider AND known.is_mine AND known.places > 0
    LEFT JOIN served ON served.tenant = lanes.tenant
    LEFT JOIN tenant_load AS load ON load.tenant = lanes.tenant
),
due AS (
    SELECT job.*, lane.by_provider, lane.by_model, lane.places, lane.tries, lane.last_claimed_at, lane.max_in_flight,
        lane.in_flight
            + row_number() OVER (PARTITION BY lane.tenant ORDER BY job.priority, job.run_at, job.id) AS turn
    FROM open_lanes AS lane
    CROSS JOIN LATERAL (
        SELECT id, priority, run_at FROM jobs
        WHERE state = 'queued' AND jobs.tenant = lane.tenant AND jobs.provider = lane.provider
            AND jobs.model = lane.model AND jobs.fallback = lane.fallback AND run_at <= clock_timestamp()
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

ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended('claim', 0))
"""

# What waits at the provider only has to be fetched: an operation under way, or a result that is missing here.
LOCK_JOBS_TO_FOLLOW = """
SELECT jobs.* FROM jobs
WHERE state = 'queued' AND claim_number > 0 AND run_at <= clock_timestamp() AND provider = ANY(:mine)
    AND EXISTS (
        SELECT FROM provider_calls AS call
        WHERE call.job_id = jobs.id AND call.provider = ANY(:mine) AND call.operation_id IS NOT NULL
            AND (call.phase = 'accepted' OR call.phase IN ('succeeded', 'unknown') AND EXISTS (
                SELECT FROM unnest(call.image_indexes) AS bought (index)
                WHERE NOT EXISTS (
                    SELECT FROM artifacts WHERE artifacts.job_id = jobs.id AND artifacts.image_index = bought.index))))
ORDER BY run_at, id LIMIT :most
FOR UPDATE OF jobs SKIP LOCKED
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


def one_at_a_time(connection: Connection) -> None:
    """Let generators choose one after the other, until commit: limits that two count at once are exceeded by both."""
    connection.execute(text(ONE_AT_A_TIME))


def lock_jobs_to_follow(connection: Connection, *, most: int, mine: Collection[str]) -> list[Job]:
    """Lock at most so many due jobs for which these providers are at work already: no limit or breaker bars them."""
    return _lock(connection, LOCK_JOBS_TO_FOLLOW, {"most": most, "mine": list(mine)})


def lock_due_jobs(connection: Connection, *, most: int, mine: Collection[str], admission: Admission) -> list[Job]:
    """Lock at most so many due jobs that these providers may serve now, in the order in which they are to be served."""
    known = [
        {
            "provider": name,
            "default_model": one.default_model,
            "places": admission.places.get(name, 0),
            "is_mine": name in mine,
        }
        for name, one in admission.catalogue.items()
    ]
    gates = [_gate(one, 0) for one in admission.barred()] + [_gate(one, 1) for one in admission.probes()]
    told = {
        "known": rows.as_parameter(known),
        "gates": rows.as_parameter(gates),
        # Somebody may hold a few of them, to cancel or rescue them.
        "per_lane": most + 4,
        "candidates": 4 * most + 16,
    }
    chosen = connection.execute(text(CHOOSE_DUE_JOBS), told).scalars()
    return _lock(connection, LOCK_DUE_JOBS, {"ids": list(chosen), "most": most})


def _gate(breaker: Breaker, places: int) -> dict[str, object]:
    return {"provider": breaker.provider, "model": breaker.model, "places": places}


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
