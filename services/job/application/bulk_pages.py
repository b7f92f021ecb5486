"""Works through bulk actions page by page; each page is one transaction, in which every job has a savepoint."""

import logging
from dataclasses import dataclass, replace

from calotype.error_reasons import Reason
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from common.after_commit import savepoint
from common.sql import Connection
from services.job.application import user_actions
from services.job.domain.bulk_actions import BulkAction, BulkActionKind
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.store import bulk_actions, job_search, jobs

_LOG = logging.getLogger(__name__)
#: Jobs of one page: few, as all of them are locked until it is committed.
PAGE = 25
#: Seconds after which a page that was not committed is begun again, by any replica.
HELD_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class PageResult:
    """Result of one page."""

    #: The bulk action after it.
    bulk_action: BulkAction
    #: Jobs that were canceled or retried, as they were before.
    changed: tuple[Job, ...]


def claim_next(connection: Connection) -> str | None:
    """Claims the bulk action that has waited longest; returns its id, None when none is due.

    The claim only spreads the work, and postpones a page that fails: `work_page` alone is safe in several replicas.
    """
    return bulk_actions.claim(connection, seconds=HELD_SECONDS)


def work_page(connection: Connection, bulk_id: str) -> PageResult | None:
    """Cancels or retries the next jobs of a bulk action; returns None if it is over.

    The row of the bulk action is locked until commit, and its position is written with the jobs: none is done twice.
    """
    action = bulk_actions.lock_running(connection, bulk_id)
    if action is None:
        return None
    result = job_search.find(connection, action.wanted, after=action.reached, size=PAGE)
    ids = [job_id for _, job_id in result.found]
    # All of them first, in the order in which every transaction locks jobs.
    locked, _ = jobs.lock(connection, ids)
    changed: list[Job] = []
    for job_id in ids:
        job = locked.get(job_id)
        if job is None or not action.applies_to(job):
            action = replace(action, skipped=action.skipped + 1)
        elif (reason := _act(connection, action, job)) is not None:
            action = action.with_refused(reason, job_id)
        else:
            changed.append(job)
            action = replace(action, done=action.done + 1)
    action = replace(action, reached=result.next or action.reached)
    saved = bulk_actions.save(connection, action, is_over=result.next is None)
    return PageResult(bulk_action=saved, changed=tuple(changed))


def _act(connection: Connection, action: BulkAction, job: Job) -> Reason | None:
    """Cancels or retries a locked job as its user could; returns why it was refused, None if it was not."""
    try:
        with savepoint(connection):
            if action.request.kind is BulkActionKind.CANCEL:
                user_actions.cancel_job(connection, job.tenant, job.id)
            else:
                user_actions.retry_job(connection, _retry_of(action, job))
    except Refusal as refusal:
        return refusal.reason
    except Exception as error:  # a job that cannot be changed must not stop the others
        if isinstance(error, DBAPIError) and not isinstance(error, (DataError, IntegrityError)):
            # Of the connection or the transaction, not of the job: the whole page is repeated.
            raise
        _LOG.exception("bulk_action.job_failed", extra={"bulk_action_id": action.id, "job_id": job.id})
        return Reason.INTERNAL
    return None


def _retry_of(action: BulkAction, job: Job) -> user_actions.UserRetry:
    """Returns the retry; the tenant's quotas, which only the gateway knows, do not hold for an operator."""
    return user_actions.UserRetry(
        tenant=job.tenant,
        job_id=job.id,
        idempotency_key="",
        fingerprint="",
        consents=action.request.consents,
        expected_sequence=job.sequence,
    )
