"""The table `lanes`: where to look for due jobs, in the order of turns, without looking at all that wait.

A lane is the queued jobs of one tenant that may go the same way: its provider, model and fallbacks. A trigger on `jobs`
adds a lane that is missing; claims, one at a time, do everything else. Nobody waits here: who adds a job locks its lane
against removal, or adds the lane anew where it cannot; who removes one passes by what is locked. So a lane may stand
here twice, or without a job, until a claim looks at it; a due job without a lane there never is.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from services.job.domain.circuit_breakers import Breaker
from services.job.domain.requests import Priority
from services.job.domain.routing import ClaimCapacity
from services.job.store import rows

#: Lanes whose time has come, in one claim.
MAX_WOKEN = 1_000

# Ways are found by hopping through the index. The first step that no breaker bars serves a way, if this generator can
# go it. Tenants with nothing at a generator come first, who had no turn for longest at their head; the others are
# looked at only where those are too few. Of each tenant that is found, every lane counts.
FIND_LANES = """
WITH RECURSIVE ways AS (
    (SELECT provider, model, fallback FROM lanes WHERE wakes_at IS NULL ORDER BY provider, model, fallback LIMIT 1)
    UNION ALL
    SELECT following.* FROM ways CROSS JOIN LATERAL (
        SELECT provider, model, fallback FROM lanes
        WHERE wakes_at IS NULL
            AND (lanes.provider, lanes.model, lanes.fallback) > (ways.provider, ways.model, ways.fallback)
        ORDER BY provider, model, fallback LIMIT 1
    ) AS following
),
known AS (
    SELECT * FROM jsonb_to_recordset(CAST(:known AS jsonb))
        AS one (provider text, default_model text, places bigint, is_mine boolean)
),
gates AS (SELECT * FROM jsonb_to_recordset(CAST(:gates AS jsonb)) AS one (provider text, model text, places bigint)),
served AS MATERIALIZED (
    SELECT jobs.tenant, count(*) AS in_flight, coalesce(min(load.max_in_flight), 1000000) AS max_in_flight
    FROM jobs LEFT JOIN tenant_load AS load ON load.tenant = jobs.tenant
    WHERE state IN ('processing', 'generating') GROUP BY jobs.tenant
),
open_ways AS MATERIALIZED (
    SELECT ways.*, known.provider AS by_provider, route.model AS by_model, route.places AS tries, known.places
    FROM ways
    CROSS JOIN LATERAL (
        SELECT step.provider, step.model, coalesce(gates.places, 1000000) AS places
        FROM (
            SELECT ways.provider, ways.model, 0 AS place
            UNION ALL
            SELECT name, known.default_model, fallback.place
            FROM unnest(ways.fallback) WITH ORDINALITY AS fallback (name, place)
            JOIN known ON known.provider = name
        ) AS step
        LEFT JOIN gates ON gates.provider = step.provider AND gates.model = step.model
        WHERE coalesce(gates.places, 1) > 0
        ORDER BY step.place LIMIT 1
    ) AS route
    JOIN known ON known.provider = route.provider AND known.is_mine AND known.places > 0
),
chosen AS (
    SELECT DISTINCT found.tenant FROM open_ways AS way
    CROSS JOIN LATERAL (
        (SELECT lanes.tenant FROM lanes
            LEFT JOIN tenant_load AS load ON load.tenant = lanes.tenant
            WHERE wakes_at IS NULL
                AND (provider, model, fallback) = (way.provider, way.model, way.fallback)
                AND lanes.tenant NOT IN (SELECT tenant FROM served) AND coalesce(load.max_in_flight, 1) > 0
            ORDER BY lanes.last_claimed_at NULLS FIRST, lanes.id LIMIT :tenants)
        UNION ALL
        (SELECT lanes.tenant FROM served JOIN lanes ON lanes.tenant = served.tenant
            WHERE wakes_at IS NULL
                AND (provider, model, fallback) = (way.provider, way.model, way.fallback)
                AND served.in_flight < served.max_in_flight
            ORDER BY served.in_flight, lanes.last_claimed_at NULLS FIRST, lanes.id LIMIT :tenants)
        LIMIT :tenants
    ) AS found
)
SELECT array_agg(lanes.id ORDER BY lanes.id) AS ids, lanes.tenant, way.provider, way.model, way.fallback,
    way.by_provider, way.by_model, way.places, way.tries, min(lanes.last_claimed_at) AS last_claimed_at,
    coalesce(min(served.in_flight), 0) AS in_flight, coalesce(min(load.max_in_flight), 1000000) AS max_in_flight
FROM chosen
-- OFFSET 0: looked up for each tenant, whatever the planner believes of their number
CROSS JOIN LATERAL (SELECT * FROM lanes WHERE tenant = chosen.tenant AND wakes_at IS NULL OFFSET 0) AS lanes
JOIN open_ways AS way ON (way.provider, way.model, way.fallback) = (lanes.provider, lanes.model, lanes.fallback)
LEFT JOIN served ON served.tenant = lanes.tenant
LEFT JOIN tenant_load AS load ON load.tenant = lanes.tenant
GROUP BY lanes.tenant, way.provider, way.model, way.fallback, way.by_provider, way.by_model, way.places, way.tries
"""

WAKE_LANES = """
UPDATE lanes SET wakes_at = NULL WHERE id IN (
    SELECT id FROM lanes WHERE wakes_at <= clock_timestamp()
    ORDER BY wakes_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
)
"""

# The second statement sees what was committed before the first had its locks.
LOCK_IDLE_LANES = """
SELECT id FROM lanes WHERE id = ANY(:ids) AND NOT EXISTS (
    SELECT FROM unnest(CAST(:priorities AS smallint[])) AS level (priority) CROSS JOIN LATERAL (
        SELECT FROM jobs WHERE state = 'queued' AND jobs.tenant = lanes.tenant AND jobs.provider = lanes.provider
            AND jobs.model = lanes.model AND jobs.fallback = lanes.fallback
            AND jobs.priority = level.priority AND run_at <= clock_timestamp() ORDER BY run_at, id LIMIT 1
    ) AS due
)
FOR UPDATE SKIP LOCKED
"""
LET_SLEEP = """
WITH idle AS (
    SELECT lanes.id, (
        SELECT min(first.run_at) FROM unnest(CAST(:priorities AS smallint[])) AS level (priority) CROSS JOIN LATERAL (
            SELECT run_at FROM jobs WHERE state = 'queued' AND jobs.tenant = lanes.tenant
                AND jobs.provider = lanes.provider AND jobs.model = lanes.model AND jobs.fallback = lanes.fallback
                AND jobs.priority = level.priority ORDER BY run_at, id LIMIT 1
        ) AS first
    ) AS wakes_at
    FROM lanes WHERE id = ANY(:ids)
),
empty AS (DELETE FROM lanes USING idle WHERE lanes.id = idle.id AND idle.wakes_at IS NULL)
UPDATE lanes SET wakes_at = idle.wakes_at FROM idle WHERE lanes.id = idle.id AND idle.wakes_at IS NOT NULL
"""

REMOVE_DOUBLES = """
DELETE FROM lanes WHERE id IN (SELECT id FROM lanes WHERE id = ANY(:ids) FOR UPDATE SKIP LOCKED)
"""

REMEMBER_SERVED_TENANTS = """
WITH noted AS (
    INSERT INTO tenant_turns (tenant, last_claimed_at)
    SELECT tenant, clock_timestamp() FROM unnest(CAST(:tenants AS text[])) AS tenant ORDER BY tenant
    ON CONFLICT (tenant) DO UPDATE SET last_claimed_at = excluded.last_claimed_at
    RETURNING tenant, last_claimed_at
),
free AS (SELECT id FROM lanes WHERE tenant = ANY(:tenants) FOR NO KEY UPDATE SKIP LOCKED)
UPDATE lanes SET last_claimed_at = noted.last_claimed_at
FROM noted, free WHERE lanes.tenant = noted.tenant AND lanes.id = free.id
"""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A lane that may have due jobs, where they would go, and how its tenant stands."""

    ids: Sequence[int]
    tenant: str
    provider: str
    model: str
    fallback: Sequence[str]
    by_provider: str
    by_model: str
    #: Free places at the provider, and jobs that may try a route whose breaker was open.
    places: int
    tries: int
    last_claimed_at: datetime | None
    in_flight: int
    max_in_flight: int


def find(connection: Connection, *, tenants: int, served_by: Collection[str], capacity: ClaimCapacity) -> list[Lane]:
    """Lanes that these providers may serve now, of as many tenants per way, least served first."""
    known = [
        {
            "provider": name,
            "default_model": one.default_model,
            "places": capacity.slots.get(name, 0),
            "is_mine": name in served_by,
        }
        for name, one in capacity.catalogue.items()
    ]
    gates = [_gate(one, 0) for one in capacity.blocking()] + [_gate(one, 1) for one in capacity.probes()]
    told = {"known": rows.as_parameter(known), "gates": rows.as_parameter(gates), "tenants": tenants}
    return [Lane(**row) for row in connection.execute(text(FIND_LANES), told).mappings()]


def _gate(breaker: Breaker, places: int) -> dict[str, object]:
    return {"provider": breaker.provider, "model": breaker.model, "places": places}


def wake(connection: Connection) -> None:
    """Let lanes be found again in which a job has become due."""
    connection.execute(text(WAKE_LANES), {"limit": MAX_WOKEN})


def tidy(connection: Connection, seen: Sequence[Lane]) -> int:
    """Take away the lanes that have no job any more, and let those sleep whose jobs are not due; how many of both."""
    if doubles := [one for lane in seen for one in lane.ids[1:]]:
        connection.execute(text(REMOVE_DOUBLES), {"ids": doubles})
    told = {"priorities": PRIORITIES, "ids": [lane.ids[0] for lane in seen]}
    idle = connection.execute(text(LOCK_IDLE_LANES), told).scalars().all() if seen else []
    if idle:
        connection.execute(text(LET_SLEEP), told | {"ids": idle})
    return len(idle)


def remember_served(connection: Connection, tenants: Collection[str]) -> None:
    """Note that these tenants had their turn: rows that claims alone write, and so one after the other."""
    connection.execute(text(REMEMBER_SERVED_TENANTS), {"tenants": sorted(set(tenants))})


PRIORITIES = [int(one) for one in Priority]
