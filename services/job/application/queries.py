"""Look at jobs, without changing them; each look is a transaction of its own, of one moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from services.job.application.page_tokens import PAGE_TOKENS, PageTokens
from services.job.domain.bounds import MAX_END_USER, MAX_PROVIDER, check, labels, line
from services.job.domain.calls import ProviderCall
from services.job.domain.jobs import Attempt, Job, Snapshot
from services.job.domain.refusals import Refusal, Violation, job_not_found
from services.job.domain.states import State
from services.job.store import attempts, calls, feed, job_writer, jobs, listing, rows, secrets
from services.job.store.listing import Filters

DEFAULT_PAGE = 20
LARGEST_PAGE = 100
MAX_STATES = 20
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def get_job(connection: Connection, tenant: str, job_id: str) -> Snapshot:
    """One job of the tenant. Raises `Refusal` JOB_NOT_FOUND, for another tenant's job too."""
    jobs.at_one_moment(connection)
    return _seen(connection, find(connection, tenant, job_id))


def _seen(connection: Connection, job: Job) -> Snapshot:
    seen = job_writer.snapshots(connection, [job])[job.id]
    if job.state is State.QUEUED:
        return replace(seen, queue_position=listing.queue_position(connection, job))
    return seen


def find(connection: Connection, tenant: str, job_id: str) -> Job:
    """One job of the tenant, unlocked."""
    job = jobs.get(connection, job_id)
    if job is None or job.tenant != tenant or job.deleted_at is not None:
        raise job_not_found(job_id, hides=job is not None and job.tenant != tenant)
    return job


def list_jobs(
    connection: Connection, filters: Filters, *, page_size: int, page_token: str
) -> tuple[list[Snapshot], str]:
    """A page of jobs, newest first, and the token of the next page ("" at the end).

    The token binds the filters; pages stay right while jobs arrive, as they continue after the last job seen.
    Raises `Refusal` INVALID_INPUT for filters that no job can fit, and for a token that this list did not give.
    """
    if page_size < 0:
        raise _wrong("page_size", "1 to 100.")
    check(_out_of_bounds(filters))
    jobs.at_one_moment(connection)
    size = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
    tokens = PageTokens(secrets.read(connection, PAGE_TOKENS), of=rows.as_json(rows.to_json(filters)))
    after = _position(tokens.open(page_token)) if page_token else None
    found = listing.page(connection, filters, after=after, size=size + 1)
    shown = found[:size]
    seen = job_writer.snapshots(connection, shown)
    token = tokens.seal(shown[-1].created_at.isoformat(), shown[-1].id) if len(found) > size else ""
    return [seen[job.id] for job in shown], token


def list_attempts(connection: Connection, tenant: str, job_id: str) -> list[tuple[Attempt, Sequence[ProviderCall]]]:
    """Every claim of a job with the calls that were begun under it, oldest first."""
    jobs.at_one_moment(connection)
    find(connection, tenant, job_id)
    return _attempts(connection, job_id)


def _attempts(connection: Connection, job_id: str) -> list[tuple[Attempt, Sequence[ProviderCall]]]:
    ledger = calls.of_jobs(connection, [job_id])[job_id]
    return [
        (attempt, [call for call in ledger if call.claim_number == attempt.claim_number])
        for attempt in attempts.of_job(connection, job_id)
    ]


def get_any_job(connection: Connection, job_id: str) -> tuple[Snapshot, list[tuple[Attempt, Sequence[ProviderCall]]]]:
    """A job, whosever it is, with every claim of it. Raises `Refusal` JOB_NOT_FOUND."""
    jobs.at_one_moment(connection)
    job = jobs.get(connection, job_id)
    if job is None or job.deleted_at is not None:
        raise job_not_found(job_id)
    return _seen(connection, job), _attempts(connection, job_id)


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
    tokens = PageTokens(secrets.read(connection, PAGE_TOKENS), of="final events")
    # No place is earlier than its event.
    place = datetime.fromisoformat(tokens.open(page_token)[0]) if page_token else earliest
    placed = feed.extend(connection)
    found = feed.after(connection, place, since=earliest, most=size + 1)
    shown = found[:size]
    token = tokens.seal((shown[-1][1] if shown else place).isoformat())
    is_end = len(found) <= size and placed < feed.MAX_POSITIONED
    return FinalEvents(seen=[seen for seen, _ in shown], next_page_token="" if is_end else token, resume_token=token)


def _position(words: Sequence[str]) -> tuple[datetime, str]:
    created_at, job_id = words
    return datetime.fromisoformat(created_at), job_id


def _out_of_bounds(filters: Filters) -> Iterator[Violation]:
    yield from line("provider", filters.provider, longest=MAX_PROVIDER, shortest=0)
    yield from line("end_user", filters.end_user, longest=MAX_END_USER, shortest=0)
    yield from labels("metadata", filters.metadata)
    if len(filters.states) > MAX_STATES:
        yield Violation(field="statuses", message=f"At most {MAX_STATES}.")


def _wrong(field: str, message: str) -> Refusal:
    return Refusal("INVALID_INPUT", f"{field}: {message}", violations=(Violation(field=field, message=message),))
