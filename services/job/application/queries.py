"""Reads jobs; each query is one transaction that sees one moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from calotype.error_reasons import Reason
from calotype.size_limits import MAX_END_USER_CHARACTERS, MAX_PROVIDER_CHARACTERS

from common.sql import Connection
from services.job.application import waits
from services.job.application.page_tokens import PAGE_TOKENS, PageTokens
from services.job.domain.bounds import check, labels, line
from services.job.domain.calls import ProviderCall
from services.job.domain.jobs import Attempt, Job, Snapshot
from services.job.domain.refusals import Refusal, Violation, job_not_found
from services.job.domain.states import State
from services.job.store import attempts, calls, events, job_writer, jobs, listing, rows, secrets
from services.job.store.listing import Filters

#: Jobs of a page without `page_size`.
DEFAULT_PAGE = 20
#: Jobs of the largest page.
LARGEST_PAGE = 100
#: Transitions of a job that an operator reads at once.
EVENTS_PAGE = 100
#: States in a filter.
MAX_STATES = 20


def get_job(connection: Connection, tenant: str, job_id: str) -> Snapshot:
    """Returns one job of the tenant. Raises `Refusal` JOB_NOT_FOUND, also for another tenant's job."""
    jobs.use_repeatable_read(connection)
    return _snapshot(connection, find(connection, tenant, job_id))


def _snapshot(connection: Connection, job: Job) -> Snapshot:
    snapshot = job_writer.snapshots(connection, [job])[job.id]
    if job.is_final:
        return snapshot
    position = listing.queue_position(connection, job) if job.state is State.QUEUED else None
    return replace(snapshot, queue_position=position, wait=waits.wait_of(connection, job))


def find(connection: Connection, tenant: str, job_id: str) -> Job:
    """Returns one job of the tenant, unlocked. Raises `Refusal` JOB_NOT_FOUND."""
    job = jobs.get(connection, job_id)
    if job is None or job.tenant != tenant or job.deleted_at is not None:
        raise job_not_found(job_id, hides=job is not None and job.tenant != tenant)
    return job


def list_jobs(
    connection: Connection, filters: Filters, *, page_size: int, page_token: str
) -> tuple[list[Snapshot], str]:
    """Returns a page of jobs, newest first, and the token of the next page ("" at the end).

    A page may be shorter than `page_size`, even empty, before the end: one call examines a bounded number of jobs. The
    token is valid only for the same filters. New jobs do not shift pages, as each continues after the last job of the
    one before. `page_size` 0 means 20; at most 100 are returned. Raises `Refusal` INVALID_INPUT for invalid
    filters, and for a token of another list.
    """
    if page_size < 0:
        raise _invalid("page_size", "1 to 100.")
    check(_out_of_bounds(filters))
    jobs.use_repeatable_read(connection)
    size = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
    tokens = PageTokens(secrets.read(connection, PAGE_TOKENS), of=rows.as_json(rows.to_json(filters)))
    after = _position(tokens.open(page_token)) if page_token else None
    page = listing.page(connection, filters, after=after, size=size)
    snapshots = job_writer.snapshots(connection, page.jobs)
    token = tokens.seal(page.next[0].isoformat(), page.next[1]) if page.next else ""
    return [snapshots[job.id] for job in page.jobs], token


def list_attempts(connection: Connection, tenant: str, job_id: str) -> list[tuple[Attempt, Sequence[ProviderCall]]]:
    """Returns every claim of a job with the calls that it sent, oldest first. Raises `Refusal` JOB_NOT_FOUND."""
    jobs.use_repeatable_read(connection)
    find(connection, tenant, job_id)
    return _attempts(connection, job_id)


def _attempts(connection: Connection, job_id: str) -> list[tuple[Attempt, Sequence[ProviderCall]]]:
    ledger = calls.of_jobs(connection, [job_id])[job_id]
    return [
        (attempt, [call for call in ledger if call.claim_number == attempt.claim_number])
        for attempt in attempts.of_job(connection, job_id)
    ]


@dataclass(frozen=True, kw_only=True)
class JobForOperators:
    """A job of any tenant with all that job-service knows of it."""

    #: The job.
    snapshot: Snapshot
    #: Every claim with its calls, oldest first.
    attempts: Sequence[tuple[Attempt, Sequence[ProviderCall]]]
    #: Up to `EVENTS_PAGE` transitions, newest first.
    events: Sequence[events.RecordedEvent]
    #: Whether there are older transitions than these.
    has_older_events: bool


def get_any_job(connection: Connection, job_id: str, *, events_before: int = 0) -> JobForOperators:
    """Returns a job of any tenant, with its transitions before a sequence (0: the newest).

    Raises `Refusal`: JOB_NOT_FOUND, INVALID_INPUT for a negative sequence.
    """
    if events_before < 0:
        raise _invalid("events_before", "0 or more.")
    jobs.use_repeatable_read(connection)
    job = jobs.get(connection, job_id)
    if job is None or job.deleted_at is not None:
        raise job_not_found(job_id)
    found = events.page_before(connection, job_id, before=events_before, limit=EVENTS_PAGE + 1)
    return JobForOperators(
        snapshot=_snapshot(connection, job),
        attempts=_attempts(connection, job_id),
        events=found[:EVENTS_PAGE],
        has_older_events=len(found) > EVENTS_PAGE,
    )


def _position(parts: Sequence[str]) -> tuple[datetime, str]:
    created_at, job_id = parts
    return datetime.fromisoformat(created_at), job_id


def _out_of_bounds(filters: Filters) -> Iterator[Violation]:
    yield from line("provider", filters.provider, longest=MAX_PROVIDER_CHARACTERS, shortest=0)
    yield from line("end_user", filters.end_user, longest=MAX_END_USER_CHARACTERS, shortest=0)
    yield from labels("metadata", filters.metadata)
    if len(filters.states) > MAX_STATES:
        yield Violation(field="statuses", message=f"At most {MAX_STATES}.")


def _invalid(field: str, message: str) -> Refusal:
    return Refusal(Reason.INVALID_INPUT, f"{field}: {message}", violations=(Violation(field=field, message=message),))
