"""Compares buckets with the database, page by page: schedules leftovers for deletion, and reports missing objects."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from calotype import object_names
from calotype.error_reasons import Reason

from common.logs import event
from common.sql import Connection
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store import deletions, sweeps

_LOG = logging.getLogger(__name__)
#: Names of one page.
PAGE = 500
#: Seconds that a worker has for one page.
HELD_SECONDS = 120.0
#: Seconds between two pages, and between two passes over a bucket.
PAGE_PAUSE, PASS_PAUSE = 5.0, 600.0
#: Seconds until a folder that belongs to no job is deleted. It is an alarm, and the delay shows a database that was
#: restored from a backup, or the bucket of another installation, before data is lost.
UNKNOWN_FOLDER_SECONDS = 7 * 24 * 3600.0
_JOB_OF = {"public": object_names.job_of_public, "staging": object_names.job_of_staged}
#: Sorts after every job id.
_AFTER_ALL_JOBS = "~"
#: States of jobs that need nothing in a bucket any more.
_OVER = {"public": {State.CANCELED}, "staging": {State.CANCELED, State.COMPLETED}}
#: Missing objects that one alarm lists.
MAX_NAMED_OBJECTS = 10


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """Result of the comparison of one page."""

    #: Folders that were scheduled for deletion now.
    to_delete: int = 0
    #: Objects of completed jobs that are not in the bucket.
    missing: int = 0


def claim_page(connection: Connection, bucket: str, token: UUID) -> str | None:
    """Assigns the next page of a bucket to a worker; returns the name after which it begins, None when none is due."""
    return sweeps.claim(connection, bucket, token, seconds=HELD_SECONDS)


def compare(connection: Connection, bucket: str, token: UUID, *, names: Sequence[str], is_end: bool) -> SweepResult:
    """Compares the reported names of a page with the database; does nothing if another worker has the page by now.

    `names` are sorted; `is_end` says that the bucket has none after them. Raises `Refusal` INVALID_INPUT.
    """
    if len(names) > PAGE or any(name >= following for name, following in pairwise(names)):
        raise Refusal(Reason.INVALID_INPUT, f"names: at most {PAGE}, in order.")
    page = sweeps.lock(connection, bucket, token)
    if page is None:
        return SweepResult()
    # An empty page ends the pass, even if the worker says otherwise: else it would be read forever.
    reached = None if is_end or not names else names[-1]
    missing: list[str] = []
    if bucket == "public":
        missing, reached = _missing(connection, page, names, reached)
    compared = [name for name in names if reached is None or name <= reached]
    to_delete = _delete_leftovers(connection, bucket, compared)
    if missing:
        event(_LOG, logging.ERROR, "objects.not_found", count=len(missing), names=missing[:MAX_NAMED_OBJECTS])
    pause = PASS_PAUSE if reached is None else PAGE_PAUSE
    sweeps.turn_page(connection, bucket, reached=reached, missing=len(missing), pause=pause)
    return SweepResult(to_delete=to_delete, missing=len(missing))


def _missing(
    connection: Connection, page: sweeps.SweepPage, names: Sequence[str], reached: str | None
) -> tuple[list[str], str | None]:
    """Returns expected names that are not among `names`, and the last compared name; None for the bucket's end."""
    expected = sweeps.stored_names(
        connection,
        first=_job_at(page.reached),
        last=_AFTER_ALL_JOBS if reached is None else _job_at(reached),
        after=page.reached,
        reached=reached,
        # An object that was stored after the claim may be missing from the worker's list.
        before=page.claimed_at,
        limit=PAGE,
    )
    present = set(names)
    return [name for name in expected if name not in present], expected[-1] if len(expected) == PAGE else reached


def _delete_leftovers(connection: Connection, bucket: str, names: Sequence[str]) -> int:
    folders = {job_id for name in names if (job_id := _JOB_OF[bucket](name))}
    known = sweeps.known_jobs(connection, sorted(folders))
    over = [job for job, (state, is_deleted) in known.items() if is_deleted or state in _OVER[bucket]]
    unknown = folders - set(known)
    if unknown:
        event(_LOG, logging.ERROR, "objects.not_owned", bucket=bucket, count=len(unknown), job_id=min(unknown))
    deletions.add_leftovers(connection, bucket, unknown, delay=UNKNOWN_FOLDER_SECONDS)
    to_delete = deletions.add_leftovers(connection, bucket, over, delay=0.0)
    if to_delete:
        event(_LOG, logging.WARNING, "objects.left_behind", bucket=bucket, count=to_delete)
    return to_delete


def _job_at(name: str) -> str:
    """Returns the job id at which a public name sorts."""
    if not name.startswith(object_names.PUBLIC_ROOT):
        return "" if name < object_names.PUBLIC_ROOT else _AFTER_ALL_JOBS
    return name.removeprefix(object_names.PUBLIC_ROOT).partition("/")[0]
