"""Reads in one statement what a claim by a generator needs to know before it looks for jobs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.sql import Connection, text
from services.job.domain.circuit_breakers import Breaker, Route
from services.job.domain.jobs import Fence
from services.job.domain.pauses import Pause, Pauses
from services.job.domain.providers import Provider
from services.job.domain.routing import ClaimCapacity
from services.job.store import breakers, claim_locks, due_jobs, provider_usage, providers, rows

# The changes of loads are read in a later statement, which sees what the claims read that had their lock before. The
# order of jobs is that of the index of jobs that were claimed before, which is to be used.
READ = f"""
SELECT clock_timestamp() AS now,
    (SELECT jsonb_agg(to_jsonb(fence)) FROM (
        SELECT job_id, claim_number, lease_token FROM attempts WHERE lease_token = ANY(CAST(:tokens AS uuid[]))
    ) AS fence) AS used,
    (SELECT array_agg(CAST(description AS text) ORDER BY name) FROM providers) AS catalogue,
    (SELECT jsonb_agg(to_jsonb(breaker)) FROM ({breakers.READ}) AS breaker) AS breakers,
    (SELECT jsonb_agg(to_jsonb(pause) ORDER BY paused_at, kind, name) FROM pauses AS pause) AS pauses,
    (SELECT id FROM jobs WHERE run_at <= clock_timestamp() AND {due_jobs.HAS_RESULT_TO_FETCH}
        ORDER BY run_at, id LIMIT 1) IS NOT NULL AS has_results_to_fetch,
    EXISTS (SELECT FROM lanes WHERE wakes_at IS NULL) AS has_lanes,
    EXISTS (SELECT FROM lanes WHERE wakes_at <= clock_timestamp()) AS has_lanes_to_wake,
    CASE WHEN EXISTS (SELECT FROM load_changes) THEN {claim_locks.TRY_COUNTING} ELSE false END AS may_read_changes
"""  # noqa: S608

READ_USE = f"""
SELECT clock_timestamp() AS now, used.*,
    (SELECT jsonb_agg(to_jsonb(breaker)) FROM ({breakers.READ}) AS breaker) AS breakers
FROM ({provider_usage.USE}) AS used
"""  # noqa: S608


@dataclass(frozen=True, kw_only=True)
class ClaimFacts:
    """What a claim knows before it looks for jobs."""

    #: The database's time.
    now: datetime
    #: Claims that were made with its lease tokens, also those that have ended.
    used: Sequence[Fence]
    #: Every known provider by name.
    catalogue: Mapping[str, Provider]
    #: Breakers that have counted failures, by route.
    breakers: Mapping[Route, Breaker]
    #: What operators have paused; complete if the claim had its lock of claiming before.
    pauses: Pauses
    #: Whether due jobs only have to fetch a result from the claim's providers.
    has_results_to_fetch: bool
    #: Whether lanes are awake.
    has_lanes: bool
    #: Whether lanes sleep in which a job has become due.
    has_lanes_to_wake: bool
    #: Whether there are changes of loads that this claim alone may read.
    may_read_changes: bool

    def capacity(self, slots: Mapping[str, int]) -> ClaimCapacity:
        """Returns what may be claimed with so many free slots by provider."""
        return ClaimCapacity(
            now=self.now, catalogue=self.catalogue, slots=slots, breakers=self.breakers, pauses=self.pauses
        )


@dataclass(frozen=True, kw_only=True)
class ProviderUse:
    """Use of limited providers, with what else may have changed while a claim waited for their locks."""

    #: The database's time.
    now: datetime
    #: Slots and calls.
    load: provider_usage.Load
    #: As in `ClaimFacts`.
    breakers: Mapping[Route, Breaker]


def read(connection: Connection, *, tokens: Sequence[UUID], served_by: Collection[str]) -> ClaimFacts:
    """Returns the facts for a claim with these tokens for these providers."""
    parameters = {"tokens": [str(token) for token in tokens], "served_by": list(served_by)}
    row = connection.execute(text(READ), parameters).mappings().one()
    return ClaimFacts(
        **row
        | {
            "used": [rows.from_json(Fence, fence) for fence in row["used"] or ()],
            "catalogue": providers.of_descriptions(row["catalogue"] or ()),
            "breakers": breakers.by_route(row["breakers"] or ()),
            "pauses": Pauses(known=[rows.from_json(Pause, pause) for pause in row["pauses"] or ()]),
        }
    )


def read_use(connection: Connection, limited: Collection[str]) -> ProviderUse:
    """Returns the use of these providers."""
    row = connection.execute(text(READ_USE), provider_usage.parameters(limited)).mappings().one()
    load = provider_usage.Load(in_use=row["in_use"] or {}, begun=row["begun"] or {})
    return ProviderUse(now=row["now"], load=load, breakers=breakers.by_route(row["breakers"] or ()))
