"""What is under way, counted for those who run the service."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

#: Tenants that are told of.
MAX_TENANTS = 100

# Each of the four parts reads the partial index of its state.
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
    """Jobs that are not final, of one tenant or of all."""

    queued: int = 0
    waiting: int = 0
    processing: int = 0
    generating: int = 0
    uploading: int = 0
    oldest_queued_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Everything that is under way; `tenants` are those with most jobs."""

    everybody: Counts = field(default_factory=Counts)
    tenants: dict[str, Counts] = field(default_factory=dict)
    unpublished_messages: int = 0
    open_settlements: int = 0
    open_deletions: int = 0
    oldest_deletion_at: datetime | None = None
    missing_objects: int = 0


def count(connection: Connection) -> Queue:
    """Count what is under way."""
    rows = [dict(row) for row in connection.execute(text(COUNT_BY_TENANT)).mappings()]
    by_tenant = {row.pop("tenant"): Counts(**row) for row in rows}
    rest = connection.execute(text(COUNT_THE_REST)).mappings().one()
    return Queue(everybody=_sum(list(by_tenant.values())), tenants=dict([*by_tenant.items()][:MAX_TENANTS]), **rest)


def _sum(every: list[Counts]) -> Counts:
    return Counts(
        queued=sum(one.queued for one in every),
        waiting=sum(one.waiting for one in every),
        processing=sum(one.processing for one in every),
        generating=sum(one.generating for one in every),
        uploading=sum(one.uploading for one in every),
        oldest_queued_at=min((one.oldest_queued_at for one in every if one.oldest_queued_at), default=None),
    )
