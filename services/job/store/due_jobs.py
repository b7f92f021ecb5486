"""Chooses due jobs, fairly between tenants, locks them for claims, and renews their leases."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from common.sql import Connection, Row, text
from services.job.domain.jobs import Fence, Job
from services.job.domain.turns import depths_of_turns
from services.job.store import rows
from services.job.store.jobs import from_row
from services.job.store.lanes import PRIORITIES, Lane

# Limited by the provider's free slots, and by one probe per open breaker. A job's turn is its tenant's number of jobs
# at generators plus its position in the tenant's own queue: the least served tenant goes first. Each priority is read
# by itself: otherwise the scan would pass all jobs of one priority that wait for `run_at` to reach the next. `depth`
# jobs of a lane can be among those that are wanted.
CHOOSE_DUE_JOBS = """
WITH open_lanes AS (
    SELECT * FROM jsonb_to_recordset(CAST(:lanes AS jsonb)) AS lane (
        tenant text, provider text, model text, fallback text[], by_provider text, by_model text, slots bigint,
        probes bigint, last_claimed_at timestamptz, in_flight bigint, max_in_flight bigint, depth bigint)
),
due AS (
    SELECT job.*, lane.tenant, lane.by_provider, lane.by_model, lane.slots, lane.probes, lane.last_claimed_at,
        lane.max_in_flight, lane.in_flight
            + row_number() OVER (PARTITION BY lane.tenant ORDER BY job.priority, job.run_at, job.id) AS turn
    FROM open_lanes AS lane
    CROSS JOIN LATERAL (
        SELECT first.* FROM unnest(CAST(:priorities AS smallint[])) AS level (priority) CROSS JOIN LATERAL (
            SELECT id, priority, run_at FROM jobs
            WHERE state = 'queued' AND jobs.tenant = lane.tenant AND jobs.provider = lane.provider
                AND jobs.model = lane.model AND jobs.fallback = lane.fallback
                AND jobs.priority = level.priority AND run_at <= clock_timestamp()
            ORDER BY run_at, id LIMIT lane.depth
        ) AS first
        ORDER BY priority, run_at, id
        LIMIT least(lane.depth, lane.slots, lane.probes, greatest(lane.max_in_flight - lane.in_flight, 0))
    ) AS job
),
ranked AS (
    SELECT *,
        row_number() OVER (PARTITION BY by_provider ORDER BY turn, last_claimed_at NULLS FIRST, priority, run_at, id)
            AS slot,
        row_number() OVER (
            PARTITION BY by_provider, by_model ORDER BY turn, last_claimed_at NULLS FIRST, priority, run_at, id
        ) AS probe
    FROM due WHERE turn <= max_in_flight
)
SELECT id, tenant FROM ranked WHERE slot <= slots AND probe <= probes
ORDER BY turn, last_claimed_at NULLS FIRST, priority, run_at, id LIMIT :wanted
"""

ROOMS = """
SELECT tenant, coalesce((SELECT max_in_flight FROM tenant_load AS load WHERE load.tenant = tenants.tenant), 1000000)
    - (SELECT count(*) FROM jobs WHERE jobs.tenant = tenants.tenant AND state IN ('processing', 'generating')) AS room
FROM unnest(CAST(:tenants AS text[])) AS tenants (tenant)
"""

# Condition of a job whose result only has to be fetched from the provider: a running operation, or images that are not
# staged yet.
HAS_RESULT_TO_FETCH = """
    state = 'queued' AND claim_number > 0 AND provider = ANY(:served_by)
    AND EXISTS (
        SELECT FROM provider_calls AS call
        WHERE call.job_id = jobs.id AND call.provider = ANY(:served_by) AND call.operation_id IS NOT NULL
            AND (call.phase = 'accepted' OR call.phase IN ('succeeded', 'unknown') AND EXISTS (
                SELECT FROM unnest(call.image_indexes) AS bought (index)
                WHERE NOT EXISTS (
                    SELECT FROM artifacts WHERE artifacts.job_id = jobs.id AND artifacts.image_index = bought.index))))
"""
LOCK_JOBS_TO_FOLLOW = f"""
WITH locked AS MATERIALIZED (
    SELECT jobs.* FROM jobs
    WHERE run_at <= clock_timestamp() AND {HAS_RESULT_TO_FETCH}
    ORDER BY run_at, id LIMIT :limit
    FOR UPDATE OF jobs SKIP LOCKED
)
SELECT locked.*, clock_timestamp() AS now FROM locked
"""  # noqa: S608

# The time is read for each row once it is locked.
LOCK_DUE_JOBS = """
WITH locked AS MATERIALIZED (
    SELECT * FROM jobs WHERE id = ANY(:ids) AND state = 'queued' AND run_at <= clock_timestamp()
    ORDER BY array_position(CAST(:ids AS text[]), id) LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
SELECT locked.*, clock_timestamp() AS now FROM locked
"""

# The first row has the claims that were made with these tokens, whether it has a job or not. With such claims no job is
# locked: they are renewed first, which waits for locks of jobs.
LOCK_DUE_UPLOADS = """
WITH used AS MATERIALIZED (
    SELECT job_id, claim_number, lease_token FROM attempts WHERE lease_token = ANY(CAST(:tokens AS uuid[]))
),
locked AS MATERIALIZED (
    SELECT * FROM jobs
    WHERE state = 'uploading' AND lease_token IS NULL AND run_at <= clock_timestamp()
    ORDER BY run_at, id
    LIMIT CASE WHEN EXISTS (SELECT FROM used) THEN 0 ELSE cardinality(CAST(:tokens AS uuid[])) END
    FOR UPDATE SKIP LOCKED
)
SELECT claims.used, locked.*, clock_timestamp() AS now
FROM (SELECT jsonb_agg(to_jsonb(used)) AS used FROM used) AS claims LEFT JOIN locked ON true
"""

# Locked in the order of their ids, as every transaction that locks several jobs does.
RENEW_LEASES = """
WITH held AS (
    SELECT jobs.id FROM jobs
    JOIN jsonb_to_recordset(CAST(:fences AS jsonb)) AS fence (job_id text, claim_number integer, lease_token uuid)
        ON jobs.id = fence.job_id AND jobs.claim_number = fence.claim_number AND jobs.lease_token = fence.lease_token
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => :seconds)
FROM held WHERE jobs.id = held.id
RETURNING jobs.lease_token
"""

CANCELED_AMONG = """
SELECT id FROM jobs WHERE id = ANY(:ids) AND state = 'canceled'
"""


class JobsToClaim(NamedTuple):
    """Due jobs that are locked for a claim."""

    #: In the order in which they are to be claimed.
    jobs: Sequence[Job]
    #: Time at which the last one was locked; None without jobs.
    now: datetime | None


#: Nothing was locked.
NONE = JobsToClaim((), None)


class DueJob(NamedTuple):
    """A due job that is not locked yet."""

    #: Its id.
    job_id: str
    #: Its tenant.
    tenant: str


def lock_jobs_to_follow(connection: Connection, *, limit: int, served_by: Collection[str]) -> JobsToClaim:
    """Locks due jobs whose calls these providers already work on; no limit or breaker applies to them."""
    return _lock(connection, LOCK_JOBS_TO_FOLLOW, {"limit": limit, "served_by": list(served_by)})


def choose(connection: Connection, lanes: Sequence[Lane], *, wanted: int) -> list[DueJob]:
    """Returns up to `wanted` due jobs of these lanes, in the order in which they are to be claimed."""
    loads = {lane.tenant: (lane.in_flight, lane.max_in_flight) for lane in lanes}
    depths = depths_of_turns(loads, wanted=wanted)
    chosen = _choose(connection, lanes, depths, wanted=wanted)
    read = Counter(one.tenant for one in chosen)
    if len(chosen) < wanted and any(
        read[tenant] >= depths[tenant] < min(wanted, most - in_flight) for tenant, (in_flight, most) in loads.items()
    ):
        # Some tenants have less than their share, so that others have more than was read.
        return _choose(connection, lanes, dict.fromkeys(loads, wanted), wanted=wanted)
    return chosen


def _choose(connection: Connection, lanes: Sequence[Lane], depths: Mapping[str, int], *, wanted: int) -> list[DueJob]:
    parameters = {
        "lanes": rows.as_parameter([vars(lane) | {"depth": depths[lane.tenant]} for lane in lanes]),
        "priorities": PRIORITIES,
        "wanted": wanted,
    }
    return [DueJob(*row) for row in connection.execute(text(CHOOSE_DUE_JOBS), parameters)]


def rooms(connection: Connection, tenants: Collection[str]) -> dict[str, int]:
    """Returns how many further jobs of each tenant its limit allows at generators; valid while it is locked."""
    found = connection.execute(text(ROOMS), {"tenants": list(tenants)}) if tenants else ()
    return {row.tenant: row.room for row in found}


def lock(connection: Connection, candidates: Sequence[DueJob], *, limit: int) -> JobsToClaim:
    """Locks the first `limit` of these jobs that are due and that nobody has locked."""
    return _lock(connection, LOCK_DUE_JOBS, {"ids": [one.job_id for one in candidates], "limit": limit})


def lock_due_uploads(connection: Connection, tokens: Sequence[UUID]) -> tuple[list[Fence], JobsToClaim]:
    """Locks jobs whose staged images are to be copied, up to one per token, unless a token was used before.

    Returns the claims that were made with the tokens as well, also those that have ended. The tokens are locked.
    """
    found = connection.execute(text(LOCK_DUE_UPLOADS), {"tokens": [str(token) for token in tokens]}).mappings().all()
    used = [rows.from_json(Fence, fence) for fence in found[0]["used"] or ()]
    return used, _locked([row for row in found if row["id"] is not None])


def renew(connection: Connection, fences: Sequence[Fence], *, seconds: float) -> set[str]:
    """Renews leases that are still held, for `seconds` from now; returns their tokens."""
    held = rows.as_parameter([rows.to_json(fence) for fence in fences])
    return {
        str(token) for token in connection.execute(text(RENEW_LEASES), {"fences": held, "seconds": seconds}).scalars()
    }


def canceled_among(connection: Connection, job_ids: Collection[str]) -> set[str]:
    """Returns the ids of those jobs that are canceled."""
    return set(connection.execute(text(CANCELED_AMONG), {"ids": list(job_ids)}).scalars())


def _lock(connection: Connection, statement: str, parameters: dict[str, object]) -> JobsToClaim:
    return _locked(connection.execute(text(statement), parameters).mappings().all())


def _locked(found: Sequence[Row]) -> JobsToClaim:
    return JobsToClaim([from_row(row) for row in found], found[-1]["now"] if found else None)
