"""Compare a bucket with the database, a page at a time: what nobody needs is to go, what is missing is told."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from calotype import object_names
from sqlalchemy import Connection

from common.logs import event
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store import deletions, sweeps

_LOG = logging.getLogger(__name__)
#: Names of one page, seconds that a worker has for it, between two pages, and between two passes.
PAGE = 500
HELD_SECONDS = 120.0
PAGE_PAUSE, PASS_PAUSE = 5.0, 600.0
#: What belongs to no job at all is told as an alarm, and waits so long (seconds): a database that was brought back from
#: a copy, or the bucket of another installation, is noticed before anything is lost.
UNKNOWN_FOLDER_SECONDS = 7 * 24 * 3600.0
_JOB_OF = {"public": object_names.job_of_public, "staging": object_names.job_of_staged}
_BEHIND_ALL = "~"
_OVER = {"public": {State.CANCELED}, "staging": {State.CANCELED, State.COMPLETED}}
#: Missing objects that an alarm names.
MAX_NAMED_OBJECTS = 10


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """Folders that are to go now, and objects that should be there."""

    to_go: int = 0
    missing: int = 0


def claim_page(connection: Connection, bucket: str, token: UUID) -> str | None:
    """Give the next page of a bucket to one worker: the name after which it begins, or None when none is due."""
    return sweeps.claim(connection, bucket, token, seconds=HELD_SECONDS)


def compare(connection: Connection, bucket: str, token: UUID, *, names: Sequence[str], is_end: bool) -> SweepResult:
    """Take what a page has for what the bucket has there; a page that is another's by now is left to him."""
    if len(names) > PAGE or any(one >= following for one, following in pairwise(names)):
        raise Refusal("INVALID_INPUT", f"names: at most {PAGE}, in order.")
    page = sweeps.lock(connection, bucket, token)
    if page is None:
        return SweepResult()
    # An empty page that is not the last one cannot be; it is taken for the last rather than read for ever.
    reached = None if is_end or not names else names[-1]
    missing: list[str] = []
    if bucket == "public":
        missing, reached = _missing(connection, page, names, reached)
    here = [name for name in names if reached is None or name <= reached]
    to_go = _let_go(connection, bucket, here)
    if missing:
        event(_LOG, logging.ERROR, "objects.missing", count=len(missing), names=missing[:MAX_NAMED_OBJECTS])
    pause = PASS_PAUSE if reached is None else PAGE_PAUSE
    sweeps.turn_page(connection, bucket, reached=reached, missing=len(missing), pause=pause)
    return SweepResult(to_go=to_go, missing=len(missing))


def _missing(
    connection: Connection, page: sweeps.SweepPage, names: Sequence[str], reached: str | None
) -> tuple[list[str], str | None]:
    """What should be among the names and is not, and how far that was compared: no further than a page of either."""
    expected = sweeps.stored_names(
        connection,
        first=_job_at(page.reached),
        last=_BEHIND_ALL if reached is None else _job_at(reached),
        after=page.reached,
        reached=reached,
        # What came after the worker had asked need not be in what it saw.
        before=page.claimed_at,
        most=PAGE,
    )
    there = set(names)
    return [name for name in expected if name not in there], expected[-1] if len(expected) == PAGE else reached


def _let_go(connection: Connection, bucket: str, names: Sequence[str]) -> int:
    folders = {job_id for name in names if (job_id := _JOB_OF[bucket](name))}
    known = sweeps.known_jobs(connection, sorted(folders))
    over = [job for job, (state, is_deleted) in known.items() if is_deleted or state in _OVER[bucket]]
    unknown = folders - set(known)
    if unknown:
        event(_LOG, logging.ERROR, "objects.of_no_job", bucket=bucket, count=len(unknown), job_id=min(unknown))
    deletions.add_found(connection, bucket, unknown, delay=UNKNOWN_FOLDER_SECONDS)
    to_go = deletions.add_found(connection, bucket, over, delay=0.0)
    if to_go:
        event(_LOG, logging.WARNING, "objects.left_behind", bucket=bucket, count=to_go)
    return to_go


def _job_at(name: str) -> str:
    """Where a public name stands among the ids of jobs."""
    if not name.startswith(object_names.PUBLIC_ROOT):
        return "" if name < object_names.PUBLIC_ROOT else _BEHIND_ALL
    return name.removeprefix(object_names.PUBLIC_ROOT).partition("/")[0]
