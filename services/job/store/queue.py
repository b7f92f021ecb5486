"""Counts unfinished work, for operators."""

from dataclasses import dataclass, field
from datetime import datetime

from common.sql import Connection, text

#: Tenants that are listed.
MAX_TENANTS = 100

# Each SELECT reads the partial index of its states.
COUNT_BY_TENANT = """
SELECT tenant,
    count(*) FILTER (WHERE state = 'queued' AND run_at <= clock_timestamp()) AS queued,
    count(*) FILTER (WHERE state = 'queued' AND run_at > clock_timestamp()) AS waiting,
    count(*) FILTER (WHERE state = 'processing') AS processing,
    count(*) FILTER (WHERE state = 'generating') AS generating,
    count(*) FILTER (WHERE state = 'uploading') AS uploading,
    min(queued_at) AS oldest_queued_at
FROM (
    SELECT tenant, state, run_at, queued_at FROM jobs WHERE state = 'queued'
    UNION ALL
    SELECT tenant, state, run_at, queued_at FROM jobs WHERE state IN ('processing', 'generating')
    UNION ALL
    SELECT tenant, state, run_at, queued_at FROM jobs WHERE state = 'uploading'
) AS open GROUP BY tenant ORDER BY count(*) DESC, tenant
"""

COUNT_THE_REST = """
SELECT
    (SELECT count(*) FROM outbox) AS unpublished_messages,
    (SELECT count(*) FROM provider_calls AS call JOIN jobs ON jobs.id = call.job_id
        WHERE call.phase IN ('intended', 'accepted') AND jobs.completed_at IS NOT NULL) AS open_settlements,
    (SELECT count(*) FROM deletions WHERE seen_empty_at IS NULL) AS open_deletions,
    (SELECT min(asked_at) FROM deletions WHERE seen_empty_at IS NULL) AS oldest_deletion_at,
    (SELECT coalesce(sum(greatest(missing, missing_before)), 0) FROM sweeps) AS missing_objects
"""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of jobs that are not final, of one tenant or of all."""

    #: Jobs in QUEUED that are due.
    queued: int = 0
    #: Jobs in QUEUED that wait for `run_at`.
    waiting: int = 0
    #: Jobs in PROCESSING.
    processing: int = 0
    #: Jobs in GENERATING.
    generating: int = 0
    #: Jobs in UPLOADING.
    uploading: int = 0
    #: Earliest `Job.queued_at`; None without queued jobs.
    oldest_queued_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Queue:
    """All unfinished work."""

    #: Jobs of all tenants.
    total: Counts = field(default_factory=Counts)
    #: Jobs by tenant, for the tenants with the most jobs.
    tenants: dict[str, Counts] = field(default_factory=dict)
    #: Rows in the outbox.
    unpublished_messages: int = 0
    #: Open calls of final jobs.
    open_settlements: int = 0
    #: Folders to delete that were never found empty.
    open_deletions: int = 0
    #: Time of the oldest such request; None without one.
    oldest_deletion_at: datetime | None = None
    #: Public objects that the sweep did not find: the larger number of the current and the last pass, over all buckets.
    missing_objects: int = 0


def count(connection: Connection) -> Queue:
    """Counts all unfinished work."""
    rows = [dict(row) for row in connection.execute(text(COUNT_BY_TENANT)).mappings()]
    by_tenant = {row.pop("tenant"): Counts(**row) for row in rows}
    rest = connection.execute(text(COUNT_THE_REST)).mappings().one()
    return Queue(total=_sum(list(by_tenant.values())), tenants=dict([*by_tenant.items()][:MAX_TENANTS]), **rest)


def _sum(tenants: list[Counts]) -> Counts:
    return Counts(
        queued=sum(counts.queued for counts in tenants),
        waiting=sum(counts.waiting for counts in tenants),
        processing=sum(counts.processing for counts in tenants),
        generating=sum(counts.generating for counts in tenants),
        uploading=sum(counts.uploading for counts in tenants),
        oldest_queued_at=min((counts.oldest_queued_at for counts in tenants if counts.oldest_queued_at), default=None),
    )
