"""Counts unfinished work, for operators; what one count reads is bounded, however much waits."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from common.sql import Connection, Row, text
from services.job.store import jobs
from services.job.store.lanes import PRIORITIES

#: Tenants that are listed.
MAX_TENANTS = 100
#: Queues, each of one tenant and priority, that are counted.
MAX_QUEUES = 1_000
#: Newest queued jobs whose tenants are counted, too, where there are more queues.
MAX_NEWEST = 200
#: Jobs that are counted in all queues together, each of which has an equal share; also jobs at generators, jobs at
#: uploaders, and rows of each other kind of work.
MAX_COUNTED = 10_000

# The queues are found by hops through the index. Each is counted from its longest due job on.
COUNT_QUEUED = """
WITH RECURSIVE hop AS (
    (SELECT tenant, priority FROM jobs WHERE state = 'queued' ORDER BY tenant, priority LIMIT 1)
    UNION ALL
    SELECT following.* FROM hop CROSS JOIN LATERAL (
        SELECT tenant, priority FROM jobs
        WHERE state = 'queued' AND (jobs.tenant, jobs.priority) > (hop.tenant, hop.priority)
        ORDER BY tenant, priority LIMIT 1
    ) AS following
),
first AS MATERIALIZED (SELECT tenant, priority FROM hop LIMIT :queues + 1),
known AS MATERIALIZED (SELECT count(*) <= :queues AS is_all, max(tenant) AS last_tenant FROM first),
queues AS MATERIALIZED (
    SELECT tenant, priority FROM first
    UNION
    SELECT newest.tenant, level.priority
    FROM (
        SELECT tenant FROM jobs WHERE state = 'queued' AND deleted_at IS NULL AND NOT (SELECT is_all FROM known)
        ORDER BY created_at DESC, id DESC LIMIT :newest
    ) AS newest CROSS JOIN unnest(CAST(:priorities AS smallint[])) AS level (priority)
),
share AS MATERIALIZED (SELECT greatest(:counted / greatest(count(*), 1), 1) AS jobs FROM queues)
SELECT queues.tenant, CAST(sum(counted.queued) AS bigint) AS queued, CAST(sum(counted.waiting) AS bigint) AS waiting,
    min(counted.oldest) AS oldest_queued_at, bool_and(known.is_all) AS is_whole_queue,
    -- the last tenant may have further queues
    bool_and(counted.queued + counted.waiting <= share.jobs AND (known.is_all OR queues.tenant <> known.last_tenant))
        AS is_exact
FROM queues CROSS JOIN known CROSS JOIN share CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE run_at <= clock_timestamp()) AS queued,
        count(*) FILTER (WHERE run_at > clock_timestamp()) AS waiting, min(queued_at) AS oldest
    FROM (
        SELECT run_at, queued_at FROM jobs
        WHERE state = 'queued' AND jobs.tenant = queues.tenant AND jobs.priority = queues.priority
        ORDER BY run_at, id LIMIT (SELECT jobs + 1 FROM share)
    ) AS first_due
) AS counted
GROUP BY queues.tenant
"""

# Each SELECT reads the partial index of its states.
COUNT_AT_WORKERS = """
SELECT tenant, count(*) FILTER (WHERE state = 'processing') AS processing,
    count(*) FILTER (WHERE state = 'generating') AS generating,
    count(*) FILTER (WHERE state = 'uploading') AS uploading
FROM (
    (SELECT tenant, state FROM jobs WHERE state IN ('processing', 'generating') ORDER BY tenant, id LIMIT :counted + 1)
    UNION ALL
    (SELECT tenant, state FROM jobs WHERE state = 'uploading' ORDER BY run_at, id LIMIT :counted + 1)
) AS held GROUP BY tenant
"""

# OFFSET 0: makes the planner look each job up by its id.
COUNT_THE_REST = """
SELECT
    (SELECT count(*) FROM (SELECT FROM outbox ORDER BY id LIMIT :counted + 1) AS unpublished) AS unpublished_messages,
    (SELECT count(*) FROM (
        SELECT job_id FROM provider_calls WHERE phase IN ('intended', 'accepted') ORDER BY provider, id
        LIMIT :counted + 1
    ) AS call CROSS JOIN LATERAL (
        SELECT FROM jobs WHERE jobs.id = call.job_id AND completed_at IS NOT NULL OFFSET 0
    ) AS final) AS open_settlements,
    (SELECT count(*) FROM (
        SELECT FROM deletions WHERE seen_empty_at IS NULL ORDER BY asked_at LIMIT :counted + 1
    ) AS open) AS open_deletions,
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
    #: Earliest `Job.queued_at` of those that were counted; None without queued jobs.
    oldest_queued_at: datetime | None = None
    #: Whether all jobs were counted; else each number is the least that it can be.
    is_exact: bool = True

    def __add__(self, other: "Counts") -> "Counts":
        oldest = [at for at in (self.oldest_queued_at, other.oldest_queued_at) if at is not None]
        return Counts(
            queued=self.queued + other.queued,
            waiting=self.waiting + other.waiting,
            processing=self.processing + other.processing,
            generating=self.generating + other.generating,
            uploading=self.uploading + other.uploading,
            oldest_queued_at=min(oldest, default=None),
            is_exact=self.is_exact and other.is_exact,
        )

    @property
    def jobs(self) -> int:
        """Number of all jobs."""
        return self.queued + self.waiting + self.processing + self.generating + self.uploading


@dataclass(frozen=True, kw_only=True)
class Queue:
    """All unfinished work."""

    #: Jobs of all tenants.
    total: Counts = field(default_factory=Counts)
    #: Jobs by tenant, for the tenants with the most jobs.
    tenants: dict[str, Counts] = field(default_factory=dict)
    #: Rows in the outbox; counting stops beyond `MAX_COUNTED`, as for the next two.
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
    """Counts all unfinished work, within the bounds of this module."""
    jobs.use_repeatable_read(connection)
    bounds = {"counted": MAX_COUNTED, "queues": MAX_QUEUES, "newest": MAX_NEWEST, "priorities": PRIORITIES}
    queued = connection.execute(text(COUNT_QUEUED), bounds).mappings().all()
    held = connection.execute(text(COUNT_AT_WORKERS), bounds).mappings().all()
    rest = connection.execute(text(COUNT_THE_REST), bounds).mappings().one()
    is_whole_queue = all(row["is_whole_queue"] for row in queued)
    by_tenant = {row["tenant"]: _counts(row) for row in queued}
    for row in held:
        # Jobs in the queue of a tenant that was not counted are unknown.
        uncounted = Counts(is_exact=is_whole_queue)
        by_tenant[row["tenant"]] = by_tenant.get(row["tenant"], uncounted) + _counts(row)
    if not _are_all(held):
        by_tenant = {tenant: replace(counts, is_exact=False) for tenant, counts in by_tenant.items()}
    total = sum(by_tenant.values(), start=Counts(is_exact=is_whole_queue))
    most = sorted(by_tenant.items(), key=lambda item: (-item[1].jobs, item[0]))[:MAX_TENANTS]
    return Queue(total=total, tenants=dict(most), **rest)


def _counts(row: Row) -> Counts:
    return Counts(**{name: value for name, value in row.items() if name not in {"tenant", "is_whole_queue"}})


def _are_all(held: Sequence[Row]) -> bool:
    """Whether all jobs that workers hold or that wait for an uploader were counted."""
    at_generators: int = sum(row["processing"] + row["generating"] for row in held)
    at_uploaders: int = sum(row["uploading"] for row in held)
    return max(at_generators, at_uploaders) <= MAX_COUNTED
