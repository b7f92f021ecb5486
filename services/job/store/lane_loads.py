"""Loads of lanes: the number of the tenant's jobs at generators, by which claims order tenants.

Nobody waits to count. A load may be too low: claims count again for the tenants that they choose, and correct it. It is
too high only until a claim has read `load_changes`, where triggers note each tenant whose job has left its generator,
or whose limit has changed.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from common.sql import Connection, text
from services.job.domain.routing import UNLIMITED
from services.job.store import lanes, rows
from services.job.store.lanes import Lane

#: Load of a tenant at its limit; claims do not look at its lanes.
AT_LIMIT = UNLIMITED
#: Changes that one claim reads.
MAX_CHANGES = 1_000

# Arrays and OFFSET 0 make the planner look rows up by index, whatever its estimates. Whoever sees a change also sees
# the job that has left: the change is written in the same transaction. A lane that is locked is left to the next claim.
READ_CHANGES = f"""
WITH changed AS (
    DELETE FROM load_changes WHERE id = ANY(ARRAY(SELECT id FROM load_changes ORDER BY id LIMIT :limit))
    RETURNING tenant
),
counted AS (
    SELECT tenant, CASE WHEN in_flight < coalesce(max_in_flight, {AT_LIMIT}) THEN in_flight ELSE {AT_LIMIT} END AS load
    FROM (
        SELECT tenant,
            (SELECT count(*) FROM jobs WHERE jobs.tenant = changed.tenant AND state IN ('processing', 'generating'))
                AS in_flight,
            (SELECT max_in_flight FROM tenant_load WHERE tenant_load.tenant = changed.tenant) AS max_in_flight
        FROM (SELECT DISTINCT tenant FROM changed) AS changed
    ) AS tenants
),
wrong AS (
    SELECT lane.id, tenant, counted.load FROM counted
    -- OFFSET 0: makes the planner look lanes up per tenant
    CROSS JOIN LATERAL (
        SELECT id, load FROM lanes WHERE lanes.tenant = counted.tenant AND wakes_at IS NULL OFFSET 0
    ) AS lane WHERE lane.load <> counted.load
),
free AS (
    SELECT id FROM lanes WHERE id = ANY(ARRAY(SELECT id FROM wrong)) AND wakes_at IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
),
for_the_next AS (
    INSERT INTO load_changes (tenant) SELECT DISTINCT tenant FROM wrong WHERE id NOT IN (SELECT id FROM free)
)
UPDATE lanes SET load = wrong.load FROM wrong WHERE lanes.id = ANY(ARRAY(SELECT id FROM free)) AND wrong.id = lanes.id
"""  # noqa: S608

# The new turns of those served, the loads of all, and the end of lanes without due jobs: they are deleted, or sleep
# until their first job is due. A turn that another claim is writing is as good. The loads of those not served may be
# older than what was read from `load_changes` meanwhile: they are to be counted again. A lane that sleeps has no load.
REMEMBER = f"""
WITH counted AS (
    SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:loads AS integer[])) AS counted (tenant, load)
),
served AS (
    INSERT INTO tenant_turns (tenant, last_claimed_at)
    SELECT tenant, clock_timestamp() FROM unnest(CAST(:served AS text[])) AS tenant
    WHERE pg_try_advisory_xact_lock(hashtextextended('turn of tenant ' || tenant, 0))
    ON CONFLICT (tenant) DO UPDATE SET last_claimed_at = excluded.last_claimed_at
    RETURNING tenant, last_claimed_at
),
noted AS (
    INSERT INTO load_changes (tenant) SELECT tenant FROM counted WHERE tenant <> ALL(CAST(:served AS text[]))
),
idle AS MATERIALIZED ({lanes.IDLE_LANES}),
gone AS (DELETE FROM lanes USING idle WHERE lanes.id = idle.id AND idle.wakes_at IS NULL),
free AS (
    SELECT id, tenant FROM lanes WHERE id = ANY(CAST(:idle AS bigint[]) || ARRAY(
        SELECT lane.id FROM counted
        CROSS JOIN LATERAL (SELECT id FROM lanes WHERE lanes.tenant = counted.tenant OFFSET 0) AS lane
    )) AND id <> ALL(ARRAY(SELECT id FROM idle WHERE idle.wakes_at IS NULL)) FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE lanes SET last_claimed_at = coalesce(served.last_claimed_at, lanes.last_claimed_at),
    wakes_at = coalesce(idle.wakes_at, lanes.wakes_at),
    load = CASE WHEN coalesce(idle.wakes_at, lanes.wakes_at) IS NULL THEN counted.load ELSE 0 END
FROM free LEFT JOIN idle ON idle.id = free.id LEFT JOIN counted ON counted.tenant = free.tenant
    LEFT JOIN served ON served.tenant = free.tenant
WHERE lanes.id = ANY(ARRAY(SELECT id FROM free)) AND lanes.id = free.id
"""  # noqa: S608


def read_changes(connection: Connection) -> None:
    """Counts again for the tenants whose loads have changed, up to `MAX_CHANGES`.

    The lock `claim_locks.TRY_COUNTING` was taken in an earlier statement.
    """
    connection.defer(text(READ_CHANGES), {"limit": MAX_CHANGES})


def wrong(seen: Sequence[Lane]) -> set[str]:
    """Returns the tenants of these lanes whose load is not their number of jobs at generators."""
    return {lane.tenant for lane in seen if lane.load != _load(lane, 0)}


def remember(
    connection: Connection, seen: Sequence[Lane], served: Collection[str] = (), *, idle: Sequence[int] = ()
) -> None:
    """Writes the loads of the tenants of these lanes, and the turns of those served; `idle` lanes are put away.

    `served` has a tenant per job that was claimed, `idle` the ids of lanes that `lanes.LOCK_IDLE_LANES` has locked.
    """
    claimed = Counter(served)
    tenants = wrong(seen) | claimed.keys()
    loads = {lane.tenant: _load(lane, claimed[lane.tenant]) for lane in seen if lane.tenant in tenants}
    if loads or idle:
        parameters = {
            "tenants": list(loads),
            "loads": rows.as_array(loads.values()),
            "served": list(claimed),
            "idle": rows.as_array(idle),
            "priorities": lanes.PRIORITIES,
        }
        connection.defer(text(REMEMBER), parameters)


def _load(lane: Lane, claimed: int) -> int:
    in_flight = lane.in_flight + claimed
    return in_flight if in_flight < lane.max_in_flight else AT_LIMIT
