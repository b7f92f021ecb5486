"""Look at jobs, without changing them; each look is a transaction of its own, of one moment."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from services.job.domain.calls import ProviderCall
from services.job.domain.failures import Refusal, Violation, job_not_found
from services.job.domain.jobs import Attempt, Job, Snapshot
from services.job.domain.states import State
from services.job.store import attempts, calls, feed, jobs, listing, rows
from services.job.store import transitions as store
from services.job.store.listing import Filters

DEFAULT_PAGE = 20
LARGEST_PAGE = 100
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def get_job(connection: Connection, tenant: str, job_id: str) -> Snapshot:
    """One job of the tenant. Raises `Refusal` JOB_NOT_FOUND, for another tenant's job too."""
    jobs.at_one_moment(connection)
    job = find(connection, tenant, job_id)
    seen = store.snapshots(connection, [job])[job.id]
    if job.state is State.QUEUED:
        return replace(seen, queue_position=listing.queue_position(connection, job))
    return seen


def find(connection: Connection, tenant: str, job_id: str) -> Job:
    """One job of the tenant, unlocked."""
    job = jobs.get(connection, job_id)
    if job is None or job.tenant != tenant or job.deleted_at is not None:
        raise job_not_found(job_id)
    return job


def list_jobs(
    connection: Connection, filters: Filters, *, page_size: int, page_token: str
) -> tuple[list[Snapshot], str]:
    """A page of jobs, newest first, and the token of the next page ("" at the end).

    The token binds the filters; pages stay right while jobs arrive, as they continue after the last job seen.
    """
    if page_size < 0:
        raise _wrong("page_size", "1 to 100.")
    jobs.at_one_moment(connection)
    size = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
    after = _read_token(page_token, filters) if page_token else None
    found = listing.page(connection, filters, after=after, size=size + 1)
    shown = found[:size]
    seen = store.snapshots(connection, shown)
    token = _write_token(shown[-1], filters) if len(found) > size else ""
    return [seen[job.id] for job in shown], token


def list_attempts(connection: Connection, tenant: str, job_id: str) -> list[tuple[Attempt, Sequence[ProviderCall]]]:
    """Every claim of a job with the calls that were begun under it, oldest first."""
    jobs.at_one_moment(connection)
    find(connection, tenant, job_id)
    ledger = calls.of_jobs(connection, [job_id])[job_id]
    return [
        (attempt, [call for call in ledger if call.claim_number == attempt.claim_number])
        for attempt in attempts.of_job(connection, job_id)
    ]


@dataclass(frozen=True, kw_only=True)
class FinalEvents:
    """A page of final events; the token of the next one is "" at the end, and the one to come back with never is."""

    seen: Sequence[Snapshot]
    next_page_token: str
    resume_token: str


def list_final_events(
    connection: Connection, *, since: datetime | None, page_size: int, page_token: str
) -> FinalEvents:
    """Final events in the order of the feed, those that occurred after a time, behind the place of a token.

    Whatever is committed by now has its place afterwards, so that whoever comes back with a token misses nothing.
    """
    if page_size < 0:
        raise _wrong("page_size", "1 to 1,000.")
    size, earliest = min(page_size or 100, 1000), since or BEFORE_ALL
    # No place is earlier than its event.
    place = _read_place(page_token) if page_token else earliest
    placed = feed.extend(connection)
    found = feed.after(connection, place, since=earliest, most=size + 1)
    shown = found[:size]
    token = _write_position(shown[-1][1] if shown else place)
    is_end = len(found) <= size and placed < feed.MOST_PLACED
    return FinalEvents(seen=[seen for seen, _ in shown], next_page_token="" if is_end else token, resume_token=token)


def _write_position(*position: datetime | str | int) -> str:
    body = json.dumps([one.isoformat() if isinstance(one, datetime) else one for one in position])
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def _read_place(token: str) -> datetime:
    # Tokens of the version before named time and job of the event: its place is a little later, so that it comes again.
    moment, *rest = _decode(token)
    if len(rest) > 1:
        raise _not_of_this_list()
    return moment


def _decode(token: str) -> tuple[datetime, *tuple[Any, ...]]:
    try:
        moment, *rest = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        position = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError, TypeError) as error:
        raise _not_of_this_list() from error
    if position.tzinfo is None:
        raise _not_of_this_list()
    return position, *rest


def _write_token(last: Job, filters: Filters) -> str:
    return _write_position(last.created_at, last.id, _digest(filters))


def _read_token(token: str, filters: Filters) -> tuple[datetime, str]:
    moment, *rest = _decode(token)
    match rest:
        case [str(job_id), digest] if digest == _digest(filters):
            return moment, job_id
    raise _not_of_this_list()


def _digest(filters: Filters) -> int:
    """Binds a token to its filters; it protects from mistakes, and grants nothing that the tenant has not."""
    return binascii.crc32(rows.as_json(rows.to_json(filters)).encode())


def _not_of_this_list() -> Refusal:
    return _wrong("page_token", "Not one that this list gave for the same filters.")


def _wrong(field: str, message: str) -> Refusal:
    return Refusal("INVALID_INPUT", f"{field}: {message}", violations=(Violation(field=field, message=message),))
