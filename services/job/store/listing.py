"""Lists of jobs: keyset pages, newest first, and places in the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from services.job.domain.jobs import Job
from services.job.store import rows
from services.job.store.jobs import from_row


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which jobs to list; all given ones must hold."""

    tenant: str
    states: tuple[str, ...] = ()
    provider: str = ""
    failure_stage: str = ""
    failure_code: str = ""
    end_user: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


PAGE = """
SELECT * FROM jobs WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :size
"""

PLACE_IN_QUEUE = """
SELECT count(*) FROM (
    SELECT 1 FROM jobs
    WHERE tenant = :tenant AND state = 'queued' AND (priority, run_at, id) <= (:priority, :run_at, :id)
    LIMIT 10001
) AS before
"""


def page(connection: Connection, filters: Filters, *, after: tuple[datetime, str] | None, size: int) -> list[Job]:
    """Jobs that the filters let through, after a position."""
    conditions, parameters = _conditions(filters)
    if after is not None:
        conditions.append("(created_at, id) < (:after_created, :after_id)")
        parameters |= {"after_created": after[0], "after_id": after[1]}
    statement = text(PAGE.format(conditions=" AND ".join(conditions)))
    return [from_row(row) for row in connection.execute(statement, parameters | {"size": size}).mappings()]


def queue_position(connection: Connection, job: Job) -> int:
    """Place among the tenant's queued jobs, from 1; counting stops at 10,001."""
    parameters = {"tenant": job.tenant, "priority": job.priority, "run_at": job.run_at, "id": job.id}
    place: int = connection.execute(text(PLACE_IN_QUEUE), parameters).scalar_one()
    return max(place, 1)


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
    given = [one for one in known if one[2]]
    conditions = ["tenant = :tenant", "deleted_at IS NULL", *(condition for condition, _, _ in given)]
    return conditions, {"tenant": filters.tenant} | {name: value for _, name, value in given}
