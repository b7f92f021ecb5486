"""The table `breakers`: consecutive failures per provider and model."""

from collections.abc import Collection, Iterable, Sequence

from common.sql import Connection, Row, text
from services.job.domain.circuit_breakers import Breaker, Route
from services.job.domain.jobs import Job
from services.job.store import rows

ADD_MISSING = """
INSERT INTO breakers (provider, model, failures, code, reason)
SELECT provider, model, 0, 'TEMPORARY', 'PROVIDER_UNAVAILABLE'
FROM jsonb_to_recordset(CAST(:routes AS jsonb)) AS route (provider text, model text)
ORDER BY provider COLLATE "C", model COLLATE "C"
ON CONFLICT (provider, model) DO NOTHING
"""

LOCK_IN_ORDER = """
SELECT breakers.* FROM breakers
JOIN jsonb_to_recordset(CAST(:routes AS jsonb)) AS route (provider text, model text) USING (provider, model)
ORDER BY provider, model FOR UPDATE OF breakers
"""

WRITE = """
UPDATE breakers SET failures = new.failures, code = new.code, reason = new.reason,
    opened_at = new.opened_at, open_until = new.open_until, probe_until = new.probe_until
FROM jsonb_populate_recordset(NULL::breakers, CAST(:breakers AS jsonb)) AS new
WHERE breakers.provider = new.provider AND breakers.model = new.model
"""

FORGET = """
DELETE FROM breakers USING jsonb_to_recordset(CAST(:routes AS jsonb)) AS route (provider text, model text)
WHERE breakers.provider = route.provider AND breakers.model = route.model
"""

# A probe lasts as long as its job's claim; a row without a job is of an older version, and lasts until `probe_until`.
READ = """
SELECT provider, model, failures, code, reason, opened_at, open_until,
    CASE WHEN probe_job_id IS NULL OR EXISTS (
        SELECT FROM jobs WHERE jobs.id = probe_job_id AND jobs.claim_number = probe_claim_number
            AND jobs.state IN ('processing', 'generating')
    ) THEN probe_until END AS probe_until
FROM breakers
"""

# Runs under the lock of all claims: it skips a locked breaker instead of waiting, and at worst two jobs probe.
PROBE = """
UPDATE breakers SET probe_until = clock_timestamp() + make_interval(secs => :seconds),
    probe_job_id = :job_id, probe_claim_number = :claim_number
FROM (
    SELECT provider, model FROM breakers WHERE provider = :provider AND model = :model FOR UPDATE SKIP LOCKED
) AS free
WHERE breakers.provider = free.provider AND breakers.model = free.model
"""

# A starting generator may bring a corrected credential: a probe may begin at once.
TRY_AGAIN = """
UPDATE breakers SET open_until = clock_timestamp(), probe_until = NULL
WHERE provider = ANY(:providers) AND code = 'AUTH_ERROR' AND opened_at IS NOT NULL
"""


def all_breakers(connection: Connection) -> dict[Route, Breaker]:
    """Returns every breaker with failures, by route."""
    return by_route(connection.execute(text(READ)).mappings())


def by_route(found: Iterable[Row]) -> dict[Route, Breaker]:
    """Returns breakers of rows, by route."""
    breakers = [rows.from_json(Breaker, row) for row in found]
    return {breaker.route: breaker for breaker in breakers}


def lock(connection: Connection, routes: Collection[Route]) -> dict[Route, Breaker]:
    """Locks the breakers of these routes. Lock no job after it: other transactions lock jobs before breakers."""
    parameters = {"routes": _as_parameter(routes)}
    connection.defer(text(ADD_MISSING), parameters)
    return by_route(connection.execute(text(LOCK_IN_ORDER), parameters).mappings())


def write(connection: Connection, breakers: Sequence[Breaker]) -> None:
    """Writes locked breakers; one without failures is deleted."""
    failing = [rows.to_json(breaker) for breaker in breakers if breaker.failures]
    if failing:
        connection.defer(text(WRITE), {"breakers": rows.as_parameter(failing)})
    if healthy := [breaker.route for breaker in breakers if not breaker.failures]:
        connection.defer(text(FORGET), {"routes": _as_parameter(healthy)})


def probe(connection: Connection, route: Route, *, by: Job, seconds: float) -> None:
    """Records a claimed job as the probe of a route: no other begins before its claim ends, at most for `seconds`."""
    parameters = {"provider": route.provider, "model": route.model, "seconds": seconds}
    connection.defer(text(PROBE), parameters | {"job_id": by.id, "claim_number": by.claim_number})


def try_again(connection: Connection, providers: Collection[str]) -> None:
    """Allows a probe at once of these providers' routes that a refused credential has closed."""
    connection.defer(text(TRY_AGAIN), {"providers": list(providers)})


def _as_parameter(routes: Collection[Route]) -> str:
    return rows.as_parameter([rows.to_json(route) for route in routes])
