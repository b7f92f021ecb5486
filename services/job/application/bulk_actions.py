"""Previews, starts, reads and stops bulk actions, for operators."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from calotype.error_reasons import Reason

from common.after_commit import after_commit
from common.ids import new_uuid7, prefixed
from common.logs import event
from common.sql import Connection
from services.job.application import job_search
from services.job.application.pauses import MAX_PRINCIPAL
from services.job.application.submission import fingerprint_of
from services.job.domain.bounds import check, line
from services.job.domain.bulk_actions import MAX_RUNNING, BulkAction, BulkActionRequest, MatchCount
from services.job.domain.job_filter import JobFilter
from services.job.domain.refusals import Refusal, Violation
from services.job.store import bulk_actions, idempotency, job_walk, jobs, rows
from services.job.store import job_search as searches

_LOG = logging.getLogger(__name__)
#: Searches of one count: it reads at most this many times `job_walk.MAX_EXAMINED` jobs.
MAX_SEARCHES = 10
#: Ids of a preview.
SAMPLE = 10
#: Bulk actions of a list.
LISTED = 50
#: Scope of the idempotency keys.
SCOPE = "bulk-actions"


class CreateResult(NamedTuple):
    """A started bulk action."""

    #: The bulk action.
    bulk_action: BulkAction
    #: Whether an earlier request with its key had started it.
    replayed: bool


def preview(connection: Connection, request: BulkActionRequest) -> MatchCount:
    """Counts the jobs that a bulk action would look at now. Raises `Refusal` INVALID_INPUT."""
    check(_faults(request))
    jobs.use_repeatable_read(connection)
    return _count(connection, request.filter_before(jobs.clock(connection)))


def create(connection: Connection, request: BulkActionRequest, *, by: str, idempotency_key: str = "") -> CreateResult:
    """Starts a bulk action, or returns the one of the key.

    Raises `Refusal`: INVALID_INPUT, also while `MAX_RUNNING` are running, IDEMPOTENCY_KEY_REUSED.
    """
    check([*_faults(request), *line("principal", by, longest=MAX_PRINCIPAL)])
    bulk_id = prefixed("bulk", new_uuid7())
    if idempotency_key:
        key = idempotency.Key(tenant="", scope=SCOPE, key=idempotency_key)
        fingerprint = fingerprint_of(rows.as_json(rows.to_json(request)).encode())
        first_use = idempotency.assign(connection, key, fingerprint=fingerprint, job_id=bulk_id)
        if first_use is not None:
            if first_use.fingerprint != fingerprint:
                raise Refusal(Reason.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used before with another body.")
            return CreateResult(get(connection, first_use.job_id), replayed=True)
    bulk_actions.lock_creation(connection)
    if bulk_actions.count_running(connection) >= MAX_RUNNING:
        message = f"{MAX_RUNNING} bulk actions are running; wait for one to finish, or cancel one."
        check([Violation(field="filter", message=message)])
    added = bulk_actions.add(connection, bulk_id, request, by=by)
    return CreateResult(bulk_actions.set_matched(connection, bulk_id, _count(connection, added.wanted)), replayed=False)


def get(connection: Connection, bulk_id: str) -> BulkAction:
    """Returns a bulk action. Raises `Refusal` NOT_FOUND."""
    found = bulk_actions.get(connection, bulk_id)
    if found is None:
        raise Refusal(Reason.NOT_FOUND, f"There is no bulk action {bulk_id[:80]!r}.")
    return found


def list_newest(connection: Connection) -> list[BulkAction]:
    """Returns the newest bulk actions, newest first."""
    return bulk_actions.newest(connection, limit=LISTED)


def stop(connection: Connection, bulk_id: str) -> BulkAction:
    """Stops a bulk action; one that is over stays as it is. Raises `Refusal` NOT_FOUND."""
    stopped = bulk_actions.cancel(connection, bulk_id)
    found = get(connection, bulk_id)
    if stopped:
        after_commit(connection, partial(log_end, found))
    return found


def log_end(action: BulkAction) -> None:
    """Logs the counts of a bulk action that is over."""
    event(
        _LOG,
        logging.INFO,
        "bulk_action.ended",
        state=action.state,
        bulk_action_id=action.id,
        action=action.request.kind,
        done=action.done,
        skipped=action.skipped,
        refused={reason: jobs.count for reason, jobs in action.refused.items()},
    )


def _faults(request: BulkActionRequest) -> Iterator[Violation]:
    own = list(request.faults())
    yield from own
    # What contradicts the action is said once.
    named = {violation.field for violation in own}
    for violation in job_search.faults(request.filter):
        if (field := f"filter.{violation.field}") not in named:
            yield replace(violation, field=field)


def _count(connection: Connection, wanted: JobFilter) -> MatchCount:
    matched: list[str] = []
    after = None
    for _ in range(MAX_SEARCHES):
        result = searches.find(connection, wanted, after=after, size=job_walk.MAX_EXAMINED)
        matched += [job_id for _, job_id in result.found]
        after = result.next
        if after is None:
            break
    return MatchCount(matched=len(matched), is_exact=after is None, sample=tuple(matched[:SAMPLE]))
