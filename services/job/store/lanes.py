"""The table `lanes`: an index of due jobs, so that a claim need not read every queued job.

A lane is the queued jobs of one tenant with one provider, model and list of fallbacks. A trigger on `jobs` adds a
missing lane; claims do everything else. No transaction waits for a lane: one that adds a job locks its lane against
removal, or adds the lane again if it cannot; one that removes lanes skips locked ones. So a lane may exist twice, or
without a job, until a claim checks it. A due job always has a lane.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from common.sql import Connection, text
from services.job.domain.circuit_breakers import Breaker
from services.job.domain.pauses import PauseKind
from services.job.domain.requests import Priority
from services.job.domain.routing import ClaimCapacity
from services.job.store import rows

#: Lanes that one claim wakes.
MAX_WOKEN = 1_000

# The distinct route lists (provider, model, fallback) are found by hops through the index. The first route without an
# open breaker or a pause serves a list, if it is this generator's. The tenants with the least load come first, and of
# those the one whose last claim is oldest. All lanes of a chosen tenant are returned, and its jobs are counted.
FIND_LANES = """
WITH RECURSIVE route_lists AS (
    (SELECT provider, model, fallback FROM lanes WHERE wakes_at IS NULL ORDER BY provider, model, fallback LIMIT 1)
    UNION ALL
    SELECT following.* FROM route_lists CROSS JOIN LATERAL (
        SELECT provider, model, fallback FROM lanes
        WHERE wakes_at IS NULL AND (lanes.provider, lanes.model, lanes.fallback)
            > (route_lists.provider, route_lists.model, route_lists.fallback)
        ORDER BY provider, model, fallback LIMIT 1
    ) AS following
),
known AS (
    SELECT * FROM jsonb_to_recordset(CAST(:known AS jsonb))
        AS provider (provider text, default_model text, slots bigint, is_own boolean)
),
breaker AS (
    SELECT * FROM jsonb_to_recordset(CAST(:breakers AS jsonb)) AS breaker (provider text, model text, probes bigint)
),
open_lists AS MATERIALIZED (
    SELECT route_lists.*, known.provider AS by_provider, route.model AS by_model, route.probes, known.slots
    FROM route_lists
    CROSS JOIN LATERAL (
        SELECT candidate.provider, candidate.model, coalesce(breaker.probes, 1000000) AS probes
        FROM (
            SELECT route_lists.provider, route_lists.model, 0 AS position
            UNION ALL
            SELECT name, known.default_model, fallback.position
            FROM unnest(route_lists.fallback) WITH ORDINALITY AS fallback (name, position)
            JOIN known ON known.provider = name
        ) AS candidate
        LEFT JOIN breaker ON breaker.provider = candidate.provider AND breaker.model = candidate.model
        WHERE coalesce(breaker.probes, 1) > 0 AND candidate.provider <> ALL(CAST(:paused_providers AS text[]))
        ORDER BY candidate.position LIMIT 1
    ) AS route
    JOIN known ON known.provider = route.provider AND known.is_own AND known.slots > 0
),
chosen AS (
    SELECT DISTINCT found.tenant FROM open_lists AS list
    CROSS JOIN LATERAL (
        SELECT tenant FROM lanes
        WHERE wakes_at IS NULL AND (provider, model, fallback) = (list.provider, list.model, list.fallback)
            AND load < 1000000 AND tenant <> ALL(CAST(:paused_tenants AS text[]))
        ORDER BY load, last_claimed_at NULLS FIRST, id LIMIT :tenants
    ) AS found
),
counted AS MATERIALIZED (
    SELECT tenant,
        (SELECT count(*) FROM jobs WHERE jobs.tenant = chosen.tenant AND state IN ('processing', 'generating'))
            AS in_flight,
        coalesce((SELECT max_in_flight FROM tenant_load AS load WHERE load.tenant = chosen.tenant), 1000000)
            AS max_in_flight
    FROM chosen
)
SELECT array_agg(lanes.id ORDER BY lanes.id) AS ids, counted.*, list.provider, list.model, list.fallback,
    list.by_provider, list.by_model, list.slots, list.probes, min(lanes.last_claimed_at) AS last_claimed_at,
    max(lanes.load) AS load
FROM counted
-- OFFSET 0: makes the planner look lanes up per tenant, whatever its estimate of their number
CROSS JOIN LATERAL (SELECT * FROM lanes WHERE tenant = counted.tenant AND wakes_at IS NULL OFFSET 0) AS lanes
JOIN open_lists AS list ON (list.provider, list.model, list.fallback) = (lanes.provider, lanes.model, lanes.fallback)
GROUP BY counted.tenant, counted.in_flight, counted.max_in_flight, list.provider, list.model, list.fallback,
    list.by_provider, list.by_model, list.slots, list.probes
"""

WAKE_LANES = """
UPDATE lanes SET wakes_at = NULL WHERE id IN (
    SELECT id FROM lanes WHERE wakes_at <= clock_timestamp()
    ORDER BY wakes_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
)
"""

# Lanes whose due jobs, if any, are among those that this claim takes. The next statement sees the jobs that were
# committed before this one had its locks.
LOCK_IDLE_LANES = """
SELECT id FROM lanes WHERE id = ANY(CAST(:lanes AS bigint[])) AND NOT EXISTS (
    SELECT FROM unnest(CAST(:priorities AS smallint[])) AS level (priority) CROSS JOIN LATERAL (
        SELECT FROM jobs WHERE state = 'queued' AND jobs.tenant = lanes.tenant AND jobs.provider = lanes.provider
            AND jobs.model = lanes.model AND jobs.fallback = lanes.fallback
            AND jobs.priority = level.priority AND run_at <= clock_timestamp() AND jobs.id <> ALL(CAST(:ids AS text[]))
        ORDER BY run_at, id LIMIT 1
    ) AS due
)
FOR UPDATE SKIP LOCKED
"""
#: Lanes that `LOCK_IDLE_LANES` has locked, with the time at which their first job is due; null without a job. A lane
#: that sleeps forgets its load: the changes of its tenant may skip it, and a load must not stay too high.
IDLE_LANES = """
    SELECT lanes.id, (
        SELECT min(first.run_at) FROM unnest(CAST(:priorities AS smallint[])) AS level (priority) CROSS JOIN LATERAL (
            SELECT run_at FROM jobs WHERE state = 'queued' AND jobs.tenant = lanes.tenant
                AND jobs.provider = lanes.provider AND jobs.model = lanes.model AND jobs.fallback = lanes.fallback
                AND jobs.priority = level.priority ORDER BY run_at, id LIMIT 1
        ) AS first
    ) AS wakes_at
    FROM lanes WHERE id = ANY(CAST(:idle AS bigint[]))
"""

# Only while the lane that is kept is awake, and locked: another claim may be removing it.
REMOVE_DOUBLES = """
WITH kept AS (SELECT id FROM lanes WHERE id = ANY(:kept) AND wakes_at IS NULL FOR KEY SHARE SKIP LOCKED),
free AS (
    SELECT lanes.id FROM kept
    JOIN unnest(CAST(:kept AS bigint[]), CAST(:doubles AS bigint[])) AS pair (kept, double) ON pair.kept = kept.id
    JOIN lanes ON lanes.id = pair.double FOR UPDATE OF lanes SKIP LOCKED
)
DELETE FROM lanes USING free WHERE lanes.id = free.id
"""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A lane that may have due jobs, with the route that would serve them and the load of its tenant."""

    #: Rows of the lane; more than one when it exists twice.
    ids: Sequence[int]
    #: Tenant of its jobs.
    tenant: str
    #: `Job.provider` of its jobs.
    provider: str
    #: `Job.model` of its jobs.
    model: str
    #: `Job.fallback` of its jobs.
    fallback: Sequence[str]
    #: Provider that would serve them now.
    by_provider: str
    #: Model that would serve them now.
    by_model: str
    #: Free slots of that provider.
    slots: int
    #: Jobs that may use this route: 1 while its breaker is open and a probe is due, else no limit.
    probes: int
    #: Time of the tenant's last claim; None before the first.
    last_claimed_at: datetime | None
    #: The tenant's jobs at generators.
    in_flight: int
    #: Limit of these.
    max_in_flight: int
    #: The tenant's load as it was before this count, see `lane_loads`.
    load: int


def find(connection: Connection, *, tenants: int, served_by: Collection[str], capacity: ClaimCapacity) -> list[Lane]:
    """Returns lanes that these providers may serve now, of the `tenants` least loaded tenants per route list."""
    known = [
        {
            "provider": name,
            "default_model": provider.default_model,
            "slots": capacity.slots.get(name, 0),
            "is_own": name in served_by,
        }
        for name, provider in capacity.catalogue.items()
    ]
    breakers = [_breaker(breaker, probes=0) for breaker in capacity.blocking()]
    breakers += [_breaker(breaker, probes=1) for breaker in capacity.probes()]
    parameters = {
        "known": rows.as_parameter(known),
        "breakers": rows.as_parameter(breakers),
        "tenants": tenants,
        "paused_providers": capacity.pauses.names(PauseKind.PROVIDER),
        "paused_tenants": capacity.pauses.names(PauseKind.TENANT),
    }
    return [Lane(**row) for row in connection.execute(text(FIND_LANES), parameters).mappings()]


def _breaker(breaker: Breaker, *, probes: int) -> dict[str, object]:
    return {"provider": breaker.provider, "model": breaker.model, "probes": probes}


def wake(connection: Connection) -> None:
    """Makes sleeping lanes findable again in which a job has become due."""
    connection.defer(text(WAKE_LANES), {"limit": MAX_WOKEN})


def remove_doubles(connection: Connection, lanes: Sequence[Lane]) -> None:
    """Removes all rows but one of a lane that exists twice."""
    if pairs := [(lane.ids[0], double) for lane in lanes for double in lane.ids[1:]]:
        kept, doubles = zip(*pairs, strict=True)
        connection.defer(text(REMOVE_DOUBLES), {"kept": list(kept), "doubles": list(doubles)})


def lock_idle(connection: Connection, lanes: Sequence[Lane]) -> list[int]:
    """Locks lanes without due jobs; returns their ids, for `lane_loads.remember`."""
    parameters = idle_parameters(lanes) | {"ids": []}
    return list(connection.execute(text(LOCK_IDLE_LANES), parameters).scalars()) if lanes else []


def idle_parameters(lanes: Sequence[Lane]) -> dict[str, object]:
    """Returns the parameters of `LOCK_IDLE_LANES`, without the claimed jobs' `ids`."""
    return {"lanes": rows.as_array(lane.ids[0] for lane in lanes), "priorities": PRIORITIES}


PRIORITIES = [int(priority) for priority in Priority]
