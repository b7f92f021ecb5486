"""Lists a tenant's jobs in keyset pages, newest first, and finds positions in the queue, at a bounded cost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.sql import Connection, text
from services.job.domain.jobs import Job, QueuePosition
from services.job.domain.states import State
from services.job.store import rows
from services.job.store.job_walk import JobWalk, Position, branches_of_tenant, walk
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


#: Jobs, among them the job itself, up to which a position in the queue is counted.
MAX_COUNTED = 100

# In the order of the index, which ends where the limit is reached.
QUEUE_POSITION = """
SELECT count(*) FROM (
    SELECT FROM jobs
    WHERE tenant = :tenant AND state = 'queued' AND (priority, run_at, id) <= (:priority, :run_at, :id)
    ORDER BY priority, run_at, id LIMIT :limit
) AS before
"""


@dataclass(frozen=True, kw_only=True)
class ListedPage:
    """A page of a list."""

    #: Newest first.
    jobs: list[Job]
    #: Where the next page continues; None at the end.
    next: Position | None


def page(connection: Connection, filters: Filters, *, after: Position | None, size: int) -> ListedPage:
    """Returns up to `size` jobs that match, after a position; fewer, also none, where the page examined enough."""
    chosen = JobWalk(
        branches=tuple(_branches(filters)),
        conditions=tuple(_conditions(filters)),
        parameters=_parameters(filters),
        created_after=filters.created_after,
        created_before=filters.created_before,
    )
    result = walk(connection, chosen, after=after, size=size, columns="*")
    return ListedPage(jobs=[from_row(row) for row in result.rows], next=result.next)


def queue_position(connection: Connection, job: Job) -> QueuePosition:
    """Returns the position of a queued job; counting stops beyond `MAX_COUNTED`."""
    parameters = {"tenant": job.tenant, "priority": job.priority, "run_at": job.run_at, "id": job.id}
    counted: int = connection.execute(text(QUEUE_POSITION), parameters | {"limit": MAX_COUNTED + 1}).scalar_one()
    return QueuePosition(position=max(counted, 1), is_exact=counted <= MAX_COUNTED)


def _branches(filters: Filters) -> Iterator[str]:
    """Yields the branches with the smallest index that has all jobs of the filters; none if no job can match."""
    states = {State(state) for state in filters.states or State}
    if filters.failure_stage or filters.failure_code:
        states &= {State.FAILED}
    if filters.end_user and states:
        yield "deleted_at IS NULL AND tenant = :tenant AND end_user = :end_user"
    else:
        yield from branches_of_tenant(states)


def _conditions(filters: Filters) -> Iterator[str]:
    known = {
        "state = ANY(:states)": filters.states,
        "provider = :provider": filters.provider,
        "failure_stage = :failure_stage": filters.failure_stage,
        "failure_code = :failure_code": filters.failure_code,
        "end_user = :end_user": filters.end_user,
        "metadata @> CAST(:metadata AS jsonb)": filters.metadata,
    }
    yield from (condition for condition, value in known.items() if value)


def _parameters(filters: Filters) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(filters, name) for name in Filters.__dataclass_fields__}
    return values | {"states": list(filters.states), "metadata": rows.as_json(dict(filters.metadata))}
