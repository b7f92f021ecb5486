"""Walks jobs along an index, newest first, from a position; what one walk reads is bounded, whatever its filters are.

The branches of a walk choose its jobs, by conditions that have an index in the order of the lists. Its other conditions
are checked on these jobs, of which one walk examines at most `MAX_EXAMINED`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.sql import Connection, Row, text
from services.job.domain.states import State

#: Jobs that one walk examines.
MAX_EXAMINED = 1_000
#: Creation time and id of a job: the order of the lists.
Position = tuple[datetime, str]

# The inner query is not computed further than the outer one reads.
FIND = """
SELECT {columns} FROM ({candidates} LIMIT :examined) AS examined
WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :size
"""
LAST_EXAMINED = """
SELECT created_at, id FROM (
    {candidates} LIMIT (SELECT CASE WHEN count(*) <= :page_size THEN 1 ELSE 0 END FROM found) OFFSET :before_last
) AS examined
"""
# Both in one statement, that is of one moment: else a job that changes in between would move the last one examined, and
# the next walk would leave a job out. The last one is read only where too few match: LIMIT 0 reads nothing.
WALK = """
WITH found AS MATERIALIZED ({find})
SELECT found.*, last.created_at AS last_created_at, last.id AS last_id
FROM (SELECT) AS once
LEFT JOIN ({last_examined}) AS last ON true
LEFT JOIN found ON true
ORDER BY found.created_at DESC, found.id DESC
"""
# Each branch is limited by itself: the planner then merges sorted branches and does not sort them together.
BRANCH = "(SELECT {columns} FROM jobs WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :examined)"
CANDIDATES = """
SELECT * FROM ({branches}) AS candidate ORDER BY created_at DESC, id DESC
"""
#: Columns of the order of the lists.
POSITION = "created_at, id"


@dataclass(frozen=True, kw_only=True)
class JobWalk:
    """Which jobs to walk; the conditions are SQL over the columns of `jobs`."""

    #: No job meets two of them, and every job that matches meets one.
    branches: Sequence[str]
    #: All of them hold for the jobs that match.
    conditions: Sequence[str]
    #: Values of the conditions' parameters.
    parameters: Mapping[str, Any]
    #: Exclusive lower bound of the creation time.
    created_after: datetime | None = None
    #: Exclusive upper bound of the creation time.
    created_before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class WalkResult:
    """What one walk found."""

    #: The columns `created_at` and `id`, and those that were asked for, of the jobs that match; newest first.
    rows: Sequence[Row]
    #: Where the next walk continues; None when this one reached the end.
    next: Position | None


def walk(
    connection: Connection, chosen: JobWalk, *, after: Position | None, size: int, columns: str = POSITION
) -> WalkResult:
    """Returns up to `size` jobs that match, after a position; fewer, also none, where the walk examined enough."""
    if not chosen.branches:
        return WalkResult(rows=(), next=None)
    parameters = {
        **chosen.parameters,
        "size": size + 1,
        "page_size": size,
        "examined": MAX_EXAMINED,
        "before_last": MAX_EXAMINED - 1,
        "created_after": chosen.created_after,
        "created_before": chosen.created_before,
    }
    if after is not None:
        parameters |= {"after_created": after[0], "after_id": after[1]}
    conditions = " AND ".join(["deleted_at IS NULL", *chosen.conditions])
    find = FIND.format(columns=columns, candidates=_candidates(chosen, after, columns="*"), conditions=conditions)
    # Columns of the index alone, so that the jobs are not read a second time.
    last_examined = LAST_EXAMINED.format(candidates=_candidates(chosen, after, columns=POSITION))
    statement = text(WALK.format(find=find, last_examined=last_examined))
    rows = connection.execute(statement, parameters, is_prepared=False).mappings().all()
    found = [row for row in rows if row["id"] is not None]
    if len(found) > size:
        return WalkResult(rows=found[:size], next=(found[size - 1]["created_at"], found[size - 1]["id"]))
    is_end = rows[0]["last_id"] is None
    return WalkResult(rows=found, next=None if is_end else (rows[0]["last_created_at"], rows[0]["last_id"]))


def branches_of_tenant(states: Iterable[State]) -> Iterator[str]:
    """Yields the branches of a tenant's jobs in any of these states; `tenant` is a parameter of them."""
    chosen = set(states)
    if State.COMPLETED in chosen:
        yield "tenant = :tenant"
        return
    for state in sorted(chosen):
        deleted = " AND deleted_at IS NULL" if state in {State.FAILED, State.CANCELED} else ""
        yield f"tenant = :tenant AND state = '{state}'{deleted}"


def _candidates(chosen: JobWalk, after: Position | None, *, columns: str) -> str:
    page = "".join(f" AND {condition}" for condition in _range(chosen, after))
    branches = (BRANCH.format(columns=columns, conditions=branch + page) for branch in chosen.branches)
    return CANDIDATES.format(branches=" UNION ALL ".join(branches))


def _range(chosen: JobWalk, after: Position | None) -> Iterator[str]:
    if after is not None:
        yield "(created_at, id) < (:after_created, :after_id)"
    if chosen.created_after is not None:
        yield "created_at > :created_after"
    if chosen.created_before is not None:
        yield "created_at < :created_before"
