"""Finds jobs of any tenant for operators, newest first; what one search reads is bounded, whatever its filters are.

A search walks one index from a position; the filter with the smallest index chooses it (`_branches`). The other filters
are checked on the jobs of that walk, of which one search examines at most `MAX_EXAMINED`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from common.sql import Connection, text
from services.job.domain.job_filter import JobFilter
from services.job.domain.states import FINAL, State

#: Jobs of the walk that one search examines.
MAX_EXAMINED = 1_000
#: Creation time and id of a job: the order of the lists.
Position = tuple[datetime, str]

# The inner query is not computed further than the outer one reads.
FIND = """
SELECT id, created_at FROM ({walk} LIMIT :examined) AS examined
WHERE deleted_at IS NULL {conditions} ORDER BY created_at DESC, id DESC LIMIT :size
"""
LAST_EXAMINED = """
SELECT created_at, id FROM ({walk} LIMIT 1 OFFSET :before_last) AS examined
"""
# Each branch is limited by itself: the planner then merges sorted branches and does not sort them together.
BRANCH = "(SELECT * FROM jobs WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :examined)"
WALK = """
SELECT * FROM ({branches}) AS candidate ORDER BY created_at DESC, id DESC
"""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What one search found."""

    #: Positions of jobs that match, newest first.
    found: list[Position]
    #: Where the next search continues; None when this one reached the end.
    next: Position | None


def find(connection: Connection, wanted: JobFilter, *, after: Position | None, size: int) -> SearchResult:
    """Returns up to `size` jobs that match, after a position; fewer, also none, where the search examined enough."""
    parameters = _parameters(wanted, after) | {"size": size + 1, "examined": MAX_EXAMINED}
    walk = _walk(wanted, after)
    statement = FIND.format(walk=walk, conditions=_conditions(wanted))
    found = [(row.created_at, row.id) for row in connection.execute(text(statement), parameters)]
    if len(found) > size:
        return SearchResult(found=found[:size], next=found[size - 1])
    last = LAST_EXAMINED.format(walk=walk)
    row = connection.execute(text(last), parameters | {"before_last": MAX_EXAMINED - 1}).first()
    return SearchResult(found=found, next=None if row is None else (row.created_at, row.id))


def _walk(wanted: JobFilter, after: Position | None) -> str:
    page = "".join(f" AND {condition}" for condition in _range(wanted, after))
    branches = (BRANCH.format(conditions=branch + page) for branch in _branches(wanted))
    return WALK.format(branches=" UNION ALL ".join(branches))


def _branches(wanted: JobFilter) -> Iterator[str]:
    """Yields conditions that each have an index in the order of the list; no job meets two of them."""
    states = wanted.states or tuple(State)
    if wanted.job_id:
        yield "id = :job_id"
    elif wanted.operation_id:
        yield "id IN (SELECT job_id FROM provider_calls WHERE operation_id = :operation_id LIMIT :examined)"
    elif wanted.end_user:
        yield "deleted_at IS NULL AND end_user = :end_user"
    elif wanted.reason:
        yield "deleted_at IS NULL AND state = 'failed' AND failure_reason = :reason"
    elif wanted.code:
        yield "deleted_at IS NULL AND state = 'failed' AND failure_code = :code"
    elif wanted.tenant and set(states) <= {State.FAILED, State.CANCELED}:
        for state in sorted(set(states)):
            yield f"deleted_at IS NULL AND tenant = :tenant AND state = '{state}'"
    elif wanted.tenant and set(states) & FINAL:
        yield "tenant = :tenant"
    else:
        for state in sorted(set(states)):
            yield f"deleted_at IS NULL AND state = '{state}'"


def _range(wanted: JobFilter, after: Position | None) -> Iterator[str]:
    if after is not None:
        yield "(created_at, id) < (:after_created, :after_id)"
    if wanted.created_after is not None:
        yield "created_at > :created_after"
    if wanted.created_before is not None:
        yield "created_at < :created_before"


def _conditions(wanted: JobFilter) -> str:
    """Every filter again: the walk applies only some."""
    known = {
        "tenant = :tenant": wanted.tenant,
        "state = ANY(:states)": wanted.states,
        "id = :job_id": wanted.job_id,
        "id IN (SELECT job_id FROM provider_calls WHERE operation_id = :operation_id)": wanted.operation_id,
        "end_user = :end_user": wanted.end_user,
        "state = 'failed' AND failure_reason = :reason": wanted.reason,
        "state = 'failed' AND failure_code = :code": wanted.code,
        "provider = :provider": wanted.provider,
        "created_at > :created_after": wanted.created_after,
        "created_at < :created_before": wanted.created_before,
    }
    return "".join(f" AND {condition}" for condition, value in known.items() if value)


def _parameters(wanted: JobFilter, after: Position | None) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(wanted, name) for name in JobFilter.__dataclass_fields__}
    values |= {"states": [str(state) for state in wanted.states]}
    if after is not None:
        values |= {"after_created": after[0], "after_id": after[1]}
    return values
