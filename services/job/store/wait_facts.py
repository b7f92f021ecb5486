"""Reads in one statement what decides whether a claim would choose a job now."""

from typing import Any

from common.sql import Connection, text
from services.job.domain.failures import Failure
from services.job.domain.jobs import Job
from services.job.domain.offering import LIVE_SECONDS
from services.job.domain.providers import Provider
from services.job.domain.routing import ClaimCapacity
from services.job.domain.waits import WaitFacts
from services.job.store import breakers, due_jobs, pauses, provider_usage, rows
from services.job.store.provider_usage import Load

# Made of the statements of claims, each limited to the providers that the job names.
READ_NAMES = """
SELECT
    (SELECT coalesce(array_agg(DISTINCT name), '{}') FROM registrations
        WHERE name = ANY(:names) AND registered_at > clock_timestamp() - make_interval(secs => :live_seconds)) AS live,
    (SELECT coalesce(array_agg(name), '{}') FROM providers WHERE name = ANY(:names) AND (
        CAST(description ->> 'max_concurrency' AS integer) > 0
        OR CAST(description ->> 'requests_per_minute' AS integer) > 0)) AS limited
"""
READ_FACTS = f"""
SELECT clock_timestamp() AS now,
    (SELECT jsonb_agg(description) FROM providers WHERE name = ANY(:names)) AS catalogue,
    (SELECT jsonb_agg(to_jsonb(breaker)) FROM ({breakers.READ}) AS breaker WHERE provider = ANY(:names))
        AS breakers,
    used.*,
    (SELECT count(*) FROM jobs WHERE tenant = :tenant AND state IN ('processing', 'generating')) AS in_flight,
    (SELECT max_in_flight FROM tenant_load WHERE tenant = :tenant) AS max_in_flight,
    EXISTS (SELECT FROM jobs WHERE id = :job_id AND {due_jobs.HAS_RESULT_TO_FETCH}) AS has_result_to_fetch,
    (SELECT failure FROM attempts WHERE job_id = :job_id AND ended_at IS NOT NULL
        ORDER BY claim_number DESC LIMIT 1) AS last_failure
FROM ({provider_usage.USE}) AS used
"""  # noqa: S608


def read(connection: Connection, job: Job) -> WaitFacts:
    """Returns the facts for one job; reads a few rows of its providers, and the jobs at generators now."""
    names = sorted({job.provider, *job.fallback})
    live, limited = connection.execute(text(READ_NAMES), {"names": names, "live_seconds": LIVE_SECONDS}).one()
    parameters = {"names": names, "served_by": live, "tenant": job.tenant, "job_id": job.id}
    parameters |= provider_usage.parameters(limited)
    row = connection.execute(text(READ_FACTS), parameters).mappings().one()
    load = Load(in_use=row["in_use"] or {}, begun=row["begun"] or {})
    known = [rows.from_json(Provider, description) for description in row["catalogue"] or ()]
    catalogue = {provider.name: provider for provider in known}
    return WaitFacts(
        capacity=ClaimCapacity(
            now=row["now"],
            catalogue=catalogue,
            slots=load.free_slots(catalogue),
            breakers=breakers.by_route(row["breakers"] or ()),
            pauses=pauses.read_of(connection, job.tenant, names),
        ),
        live=frozenset(live),
        begun=load.begun,
        in_flight=row["in_flight"],
        max_in_flight=row["max_in_flight"],
        has_result_to_fetch=row["has_result_to_fetch"],
        last_failure=_failure(row["last_failure"]),
    )


def _failure(value: Any) -> Failure | None:
    return None if value is None else rows.from_json(Failure, value)
