"""Counts a provider's running and recent calls over all generators, for its limits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.sql import Connection, text
from services.job.domain.call_limits import WINDOW, CallLimits
from services.job.domain.jobs import Job
from services.job.domain.providers import Provider
from services.job.domain.routing import free_slots

# A call holds a slot until its end is reported or its longest duration has passed, whatever its phase.
_HOLDS_SLOT = """(
    call.phase IN ('intended', 'accepted') AND clock_timestamp()
        < coalesce(call.occupied_until, call.created_at + make_interval(secs => call.timeout_seconds))
    OR call.phase NOT IN ('intended', 'accepted') AND call.occupied_until > clock_timestamp())"""

# A job at a generator is counted instead of its own open call. The call of a queued job that will send it again is not
# counted, as the job would wait for itself; a queued job that will follow an operation is claimed without limits.
IN_USE = f"""
SELECT provider, count(*) FROM (
    SELECT provider FROM jobs WHERE state IN ('processing', 'generating') AND provider = ANY(:providers)
    UNION ALL
    SELECT call.provider FROM provider_calls AS call LEFT JOIN jobs ON jobs.id = call.job_id
    WHERE call.provider = ANY(:providers) AND {_HOLDS_SLOT}
        AND (jobs.id IS NULL OR call.phase NOT IN ('intended', 'accepted')
            OR jobs.state NOT IN ('queued', 'processing', 'generating')
            OR jobs.state = 'queued' AND call.phase = 'accepted'
            OR jobs.state <> 'queued' AND jobs.provider <> call.provider)
) AS used GROUP BY provider
"""  # noqa: S608

# Counts new calls and calls that were sent again. Claimed jobs without a call yet are about to begin one.
BEGUN = """
SELECT provider, count(*) FROM (
    SELECT provider FROM provider_calls
    WHERE provider = ANY(:providers) AND created_at > clock_timestamp() - make_interval(secs => :window)
    UNION ALL
    SELECT provider FROM resends
    WHERE provider = ANY(:providers) AND sent_at > clock_timestamp() - make_interval(secs => :window)
    UNION ALL
    SELECT provider FROM jobs WHERE state = 'processing' AND provider = ANY(:providers)
) AS begun GROUP BY provider
"""

# Both as one row.
USE = f"""
SELECT (SELECT jsonb_object_agg(provider, count) FROM ({IN_USE}) AS used (provider, count)) AS in_use,
    (SELECT jsonb_object_agg(provider, count) FROM ({BEGUN}) AS begun (provider, count)) AS begun
"""  # noqa: S608

LOCK_PROVIDER_CALLS = """
SELECT pg_advisory_xact_lock(hashtextextended('provider ' || :provider, 0))
"""

# The use of limits that a provider does not have is not counted.
USAGE = f"""
SELECT clock_timestamp() AS now,
    CASE WHEN :concurrency > 0 THEN (
        SELECT count(*) FROM provider_calls AS call
        WHERE call.provider = :provider AND {_HOLDS_SLOT} AND call.id <> :resent
    ) ELSE 0 END AS in_use,
    CASE WHEN :concurrency > 0 THEN (
        SELECT jsonb_object_agg(claim.job_id, (
            SELECT count(*) FROM provider_calls AS call
            WHERE call.job_id = claim.job_id AND call.claim_number = claim.claim_number
                AND call.provider = :provider AND {_HOLDS_SLOT} AND call.id <> :resent))
        FROM unnest(CAST(:job_ids AS text[]), CAST(:claim_numbers AS integer[])) AS claim (job_id, claim_number)
    ) END AS own,
    ARRAY(
        SELECT sent_at + make_interval(secs => :window) FROM (
            SELECT created_at AS sent_at FROM provider_calls
            WHERE provider = :provider AND created_at > clock_timestamp() - make_interval(secs => :window)
            UNION ALL
            SELECT sent_at FROM resends
            WHERE provider = :provider AND sent_at > clock_timestamp() - make_interval(secs => :window)
        ) AS sent ORDER BY sent_at DESC OFFSET :skipped LIMIT :count
    ) AS leave_at
"""  # noqa: S608

# The limit's number of calls back from now: when that call leaves the window, another may begin.
NEXT_FREE_AT = """
SELECT sent_at + make_interval(secs => :window) FROM (
    SELECT created_at AS sent_at FROM provider_calls
    WHERE provider = :provider AND created_at > clock_timestamp() - make_interval(secs => :window)
    UNION ALL
    SELECT sent_at FROM resends
    WHERE provider = :provider AND sent_at > clock_timestamp() - make_interval(secs => :window)
) AS sent ORDER BY sent_at DESC OFFSET :limit - 1 LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Use of providers; one without any is left out."""

    #: Slots in use by provider.
    in_use: dict[str, int]
    #: Calls of the last minute by provider.
    begun: dict[str, int]

    def free_slots(self, catalogue: Mapping[str, Provider]) -> dict[str, int]:
        """Returns the free slots of each provider of the catalogue."""
        return {
            name: free_slots(provider, in_use=self.in_use.get(name, 0), begun=self.begun.get(name, 0))
            for name, provider in catalogue.items()
        }


def parameters(names: Collection[str]) -> dict[str, Any]:
    """Returns the parameters of `USE` for the named providers."""
    return {"providers": list(names), "window": WINDOW}


def of_providers(connection: Connection, names: Collection[str]) -> Load:
    """Returns the use of the named providers."""
    in_use, begun = connection.execute(text(USE), parameters(names)).one()
    return Load(in_use=in_use or {}, begun=begun or {})


def lock_provider_calls(connection: Connection, provider: str) -> None:
    """Serializes new calls of a limited provider until commit, so that each counts the ones before it."""
    connection.defer(text(LOCK_PROVIDER_CALLS), {"provider": provider})


def limits_of(connection: Connection, provider: Provider, jobs: Sequence[Job], *, resent: str) -> CallLimits:
    """Returns the use of a provider's limits, for at most one call of each of these jobs.

    `resent` is the id of a call that is sent again and holds its slot already; "" for none.
    """
    rate = provider.requests_per_minute
    skipped = max(rate - len(jobs), 0)
    parameters = {
        "provider": provider.name,
        "concurrency": provider.max_concurrency,
        "job_ids": [job.id for job in jobs],
        "claim_numbers": [job.claim_number for job in jobs],
        "resent": resent,
        "skipped": skipped,
        "count": rate - skipped,
        "window": WINDOW,
    }
    row = connection.execute(text(USAGE), parameters).one()
    return CallLimits(
        provider=provider,
        now=row.now,
        in_use=row.in_use,
        own=row.own or {},
        leave_at=row.leave_at,
        skipped=skipped,
    )


def next_free_at(connection: Connection, provider: str, *, limit: int) -> datetime | None:
    """Returns the time at which another call may begin with `limit` calls a minute; None for now."""
    found: datetime | None = connection.execute(
        text(NEXT_FREE_AT), {"provider": provider, "limit": limit, "window": WINDOW}
    ).scalar()
    return found
