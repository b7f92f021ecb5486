"""Lists jobs of any tenant for operators; each page is one transaction that sees one moment."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from calotype.size_limits import MAX_END_USER_CHARACTERS, MAX_PROVIDER_CHARACTERS

from common.sql import Connection
from services.job.application.page_tokens import PAGE_TOKENS, PageTokens
from services.job.application.queries import DEFAULT_PAGE, LARGEST_PAGE, MAX_STATES
from services.job.domain.bounds import check, line
from services.job.domain.job_filter import JobFilter
from services.job.domain.jobs import Snapshot
from services.job.domain.refusals import Violation
from services.job.domain.states import State
from services.job.store import job_search, job_writer, jobs, rows, secrets

#: Characters of each filter that is one line of text.
LONGEST = {
    "tenant": 64,
    "job_id": 80,
    "operation_id": 2048,
    "end_user": MAX_END_USER_CHARACTERS,
    "reason": 64,
    "provider": MAX_PROVIDER_CHARACTERS,
}


def list_any_jobs(
    connection: Connection, wanted: JobFilter, *, page_size: int, page_token: str
) -> tuple[list[Snapshot], str]:
    """Returns a page of jobs of any tenant, newest first, and the token of the next page ("" at the end).

    A page may be shorter than `page_size`, even empty, before the end: one call examines a bounded number of jobs.
    `page_size` 0 means 20; at most 100 are returned. Raises `Refusal` INVALID_INPUT for filters that no job can match
    or that are invalid, and for a token of another list.
    """
    check([*_size_faults(page_size), *faults(wanted)])
    jobs.use_repeatable_read(connection)
    tokens = PageTokens(secrets.read(connection, PAGE_TOKENS), of=f"any jobs {rows.as_json(rows.to_json(wanted))}")
    after = _position(tokens.open(page_token)) if page_token else None
    result = job_search.find(connection, wanted, after=after, size=min(page_size or DEFAULT_PAGE, LARGEST_PAGE))
    page = jobs.get_many(connection, [job_id for _, job_id in result.found])
    snapshots = job_writer.snapshots(connection, page)
    token = tokens.seal(result.next[0].isoformat(), result.next[1]) if result.next else ""
    return [snapshots[job.id] for job in page], token


def faults(wanted: JobFilter) -> Iterator[Violation]:
    """Yields what is wrong with filters."""
    for name, longest in LONGEST.items():
        yield from line(name, getattr(wanted, name), longest=longest, shortest=0)
    if len(wanted.states) > MAX_STATES:
        yield Violation(field="statuses", message=f"At most {MAX_STATES}.")
    for name in ("reason", "code"):
        if getattr(wanted, name) and wanted.states and State.FAILED not in wanted.states:
            yield Violation(field=name, message="Only failed jobs have one: leave out the states, or name `failed`.")
    after, before = wanted.created_after, wanted.created_before
    if after is not None and before is not None and after >= before:
        yield Violation(field="created_after", message="Must be before `created_before`.")


def _size_faults(page_size: int) -> Iterator[Violation]:
    if page_size < 0:
        yield Violation(field="page_size", message=f"1 to {LARGEST_PAGE}.")


def _position(parts: Sequence[str]) -> tuple[datetime, str]:
    created_at, job_id = parts
    return datetime.fromisoformat(created_at), job_id
