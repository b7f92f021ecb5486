"""Lists jobs in keyset pages, newest first, and finds positions in the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.sql import Connection, text
from services.job.domain.jobs import Job
from services.job.store import rows
from services.job.store.jobs import from_row


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters of a list, combined by AND; an empty one is ignored."""

    #: Owner of the jobs.
    tenant: str
    #: Any of these `State` values.
    states: tuple[str, ...] = ()
    #: `Job.provider`.
    provider: str = ""
    #: A `Stage` value.
    failure_stage: str = ""
    #: A `Code` value.
    failure_code: str = ""
    #: `Job.end_user`.
    end_user: str = ""
    #: Exclusive lower bound.
    created_after: datetime | None = None
    #: Exclusive upper bound.
    created_before: datetime | None = None
    #: Entries that the job's metadata must contain.
    metadata: Mapping[str, str] = field(default_factory=dict)


PAGE = """
SELECT * FROM jobs WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :size
"""

QUEUE_POSITION = """
SELECT count(*) FROM (
    SELECT 1 FROM jobs
    WHERE tenant = :tenant AND state = 'queued' AND (priority, run_at, id) <= (:priority, :run_at, :id)
    LIMIT 10001
) AS before
"""


def page(connection: Connection, filters: Filters, *, after: tuple[datetime, str] | None, size: int) -> list[Job]:
    """Returns up to `size` jobs that match, after a position (creation time, id); None for the first page."""
    conditions, parameters = _conditions(filters)
    if after is not None:
        conditions.append("(created_at, id) < (:after_created, :after_id)")
        parameters |= {"after_created": after[0], "after_id": after[1]}
    statement = text(PAGE.format(conditions=" AND ".join(conditions)))
    return [from_row(row) for row in connection.execute(statement, parameters | {"size": size}).mappings()]


def queue_position(connection: Connection, job: Job) -> int:
    """Returns the position among the tenant's queued jobs, from 1; counting stops at 10,001."""
    parameters = {"tenant": job.tenant, "priority": job.priority, "run_at": job.run_at, "id": job.id}
    position: int = connection.execute(text(QUEUE_POSITION), parameters).scalar_one()
    return max(position, 1)


def _conditions(filters: Filters) -> tuple[list[str], dict[str, Any]]:
    known = (
        ("state = ANY(:states)", "states", list(filters.states)),
        ("provider = :provider", "provider", filters.provider),
        ("failure_stage = :failure_stage", "failure_stage", filters.failure_stage),
        ("failure_code = :failure_code", "failure_code", filters.failure_code),
        ("end_user = :end_user", "end_user", filters.end_user),
        ("created_at > :created_after", "created_after", filters.created_after),
        ("created_at < :created_before", "created_before", filters.created_before),
        (
            "metadata @> CAST(:metadata AS jsonb)",
            "metadata",
            rows.as_json(dict(filters.metadata)) if filters.metadata else None,
        ),
    )
    active = [(condition, name, value) for condition, name, value in known if value]
    conditions = ["tenant = :tenant", "deleted_at IS NULL", *(condition for condition, _, _ in active)]
    return conditions, {"tenant": filters.tenant} | {name: value for _, name, value in active}
