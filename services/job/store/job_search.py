"""Finds jobs of any tenant for operators, newest first; the filter with the smallest index chooses it (`_branches`)."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.sql import Connection
from services.job.domain.job_filter import JobFilter
from services.job.domain.states import State
from services.job.store.job_walk import JobWalk, Position, branches_of_tenant, walk


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What one search found."""

    #: Positions of jobs that match, newest first.
    found: list[Position]
    #: Where the next search continues; None when this one reached the end.
    next: Position | None


def find(connection: Connection, wanted: JobFilter, *, after: Position | None, size: int) -> SearchResult:
    """Returns up to `size` jobs that match, after a position; fewer, also none, where the search examined enough."""
    chosen = JobWalk(
        branches=tuple(_branches(wanted)),
        conditions=tuple(_conditions(wanted)),
        parameters=_parameters(wanted),
        created_after=wanted.created_after,
        created_before=wanted.created_before,
    )
    result = walk(connection, chosen, after=after, size=size)
    return SearchResult(found=[(row["created_at"], row["id"]) for row in result.rows], next=result.next)


def _branches(wanted: JobFilter) -> Iterator[str]:
    """Yields conditions that each have an index in the order of the list; no job meets two of them."""
    states = set(wanted.states or State)
    if wanted.job_id:
        yield "id = :job_id"
    elif wanted.operation_id:
        yield "id IN (SELECT job_id FROM provider_calls WHERE operation_id = :operation_id LIMIT :examined)"
    elif wanted.end_user:
        tenant = " AND tenant = :tenant" if wanted.tenant else ""
        yield f"deleted_at IS NULL AND end_user = :end_user{tenant}"
    elif wanted.reason:
        yield "deleted_at IS NULL AND state = 'failed' AND failure_reason = :reason"
    elif wanted.code:
        yield "deleted_at IS NULL AND state = 'failed' AND failure_code = :code"
    elif wanted.tenant:
        yield from branches_of_tenant(states)
    else:
        for state in sorted(states):
            yield f"deleted_at IS NULL AND state = '{state}'"


def _conditions(wanted: JobFilter) -> Iterator[str]:
    """Yields every filter that a walk may not apply."""
    known = {
        "tenant = :tenant": wanted.tenant,
        "state = ANY(:states)": wanted.states,
        "id = :job_id": wanted.job_id,
        "id IN (SELECT job_id FROM provider_calls WHERE operation_id = :operation_id)": wanted.operation_id,
        "end_user = :end_user": wanted.end_user,
        "state = 'failed' AND failure_reason = :reason": wanted.reason,
        "state = 'failed' AND failure_code = :code": wanted.code,
        "provider = :provider": wanted.provider,
    }
    yield from (condition for condition, value in known.items() if value)


def _parameters(wanted: JobFilter) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(wanted, name) for name in JobFilter.__dataclass_fields__}
    return values | {"states": [str(state) for state in wanted.states]}
