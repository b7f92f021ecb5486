"""Loads of lanes: the number of the tenant's jobs at generators, by which claims order tenants.

Nobody waits to count. A load may be too low: claims count again for the tenants that they choose, and correct it. It is
too high only until a claim has read `load_changes`, where triggers note each tenant whose job has left its generator,
or whose limit has changed.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from common.sql import Connection, text
from services.job.domain.routing import UNLIMITED
from services.job.store.lanes import Lane

#: Load of a tenant at its limit; claims do not look at its lanes.
AT_LIMIT = UNLIMITED
#: Changes that one claim reads.
MAX_CHANGES = 1_000

# Whoever sees a change also sees the job that has left: the change is written in the same transaction.
READ_CHANGES = f"""
WITH changed AS (
    DELETE FROM load_changes WHERE id IN (SELECT id FROM load_changes ORDER BY id LIMIT :limit) RETURNING tenant
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
free AS (
    SELECT lanes.id, counted.load FROM counted JOIN lanes ON lanes.tenant = counted.tenant
    WHERE lanes.load <> counted.load FOR NO KEY UPDATE OF lanes SKIP LOCKED
)
UPDATE lanes SET load = free.load FROM free WHERE lanes.id = free.id
"""  # noqa: S608

# The new turns of those served, and the loads of all.
REMEMBER = """
WITH counted AS (
    SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:loads AS integer[])) AS counted (tenant, load)
),
served AS (
    INSERT INTO tenant_turns (tenant, last_claimed_at)
    SELECT tenant, clock_timestamp() FROM unnest(CAST(:served AS text[])) AS tenant ORDER BY tenant
    ON CONFLICT (tenant) DO UPDATE SET last_claimed_at = excluded.last_claimed_at
    RETURNING tenant, last_claimed_at
),
free AS (SELECT id FROM lanes WHERE tenant = ANY(:tenants) FOR NO KEY UPDATE SKIP LOCKED)
UPDATE lanes SET last_claimed_at = coalesce(served.last_claimed_at, lanes.last_claimed_at), load = counted.load
FROM free, counted LEFT JOIN served ON served.tenant = counted.tenant
WHERE lanes.tenant = counted.tenant AND lanes.id = free.id
"""


def read_changes(connection: Connection) -> None:
    """Counts again for the tenants whose loads have changed, up to `MAX_CHANGES`."""
    connection.execute(text(READ_CHANGES), {"limit": MAX_CHANGES})


def remember(connection: Connection, lanes: Sequence[Lane], served: Collection[str] = ()) -> int:
    """Writes what a claim knows of the tenants of these lanes; `served` has a tenant per job that it claimed.

    Records the turn of each served tenant; returns the number of other tenants whose load was wrong.
    """
    claimed = Counter(served)
    changed = {lane.tenant: lane for lane in lanes if claimed[lane.tenant] or lane.load != _load(lane, 0)}
    if not changed:
        return 0
    parameters = {
        "tenants": list(changed),
        "loads": [_load(lane, claimed[tenant]) for tenant, lane in changed.items()],
        "served": sorted(claimed.keys() & changed.keys()),
    }
    connection.execute(text(REMEMBER), parameters)
    return len(changed.keys() - claimed.keys())


def _load(lane: Lane, claimed: int) -> int:
    in_flight = lane.in_flight + claimed
    return in_flight if in_flight < lane.max_in_flight else AT_LIMIT
