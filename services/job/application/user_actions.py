"""Actions of users on their jobs: cancel, retry, delete."""

from dataclasses import dataclass
from functools import partial

from calotype.error_reasons import Reason

from common.after_commit import after_commit
from common.sql import Connection
from services.job.application import spending
from services.job.application.quotas import admit_job
from services.job.application.submission import ActionResult, replay
from services.job.domain import claim_end, transitions
from services.job.domain.calls import needs_consent
from services.job.domain.jobs import Job, ProviderCancel
from services.job.domain.provider_cancel import cancel_requested
from services.job.domain.quotas import Quota
from services.job.domain.refusals import Refusal, job_not_found
from services.job.domain.routing import candidate_routes
from services.job.domain.states import FINAL, State
from services.job.store import (
    artifacts,
    attempts,
    calls,
    deletions,
    erasure,
    idempotency,
    job_writer,
    jobs,
    providers,
    transition_log,
)
from services.job.store.spending import spending_of


@dataclass(frozen=True, kw_only=True)
class UserRetry:
    """A user's request to try a failed job again."""

    #: Tenant of the caller.
    tenant: str
    #: The failed job.
    job_id: str
    #: The caller's key; "" for none.
    idempotency_key: str
    #: Digest of the request by which repetitions are compared.
    fingerprint: str
    #: Whether the user consents to paying again for images that may already be paid for.
    consents: bool
    #: Sequence that the job must have; None for any.
    expected_sequence: int | None
    #: Quota of the tenant; None when the caller knows none.
    quota: Quota | None = None


def cancel_job(connection: Connection, tenant: str, job_id: str, *, idempotency_key: str = "") -> ActionResult:
    """Cancels a job; a canceled one is returned unchanged.

    Raises `Refusal`: JOB_NOT_FOUND, IDEMPOTENCY_KEY_REUSED, WRONG_STATE for a completed or failed job.
    """
    job = _lock(connection, tenant, job_id)
    if idempotency_key:
        key = idempotency.Key(tenant=tenant, scope=f"jobs/{job_id}/cancel", key=idempotency_key)
        first_use = idempotency.assign(connection, key, fingerprint="", job_id=job_id)
        if first_use is not None:
            return replay(connection, first_use, "")
    if job.state is State.CANCELED:
        return ActionResult(job_writer.snapshots(connection, [job])[job.id], is_unchanged=True)
    if job.state in FINAL:
        raise Refusal(Reason.WRONG_STATE, f"The job is {job.state} already.")
    outcome = cancel_requested(calls.of_jobs(connection, [job.id])[job.id], providers.catalogue(connection))
    change = transitions.cancel(job, provider_cancel=outcome, now=jobs.clock(connection))
    if job.lease is not None:
        attempts.end(connection, [attempts.End(job_id=job.id, claim_number=job.claim_number, outcome="canceled")])
    if outcome is ProviderCancel.NOT_NEEDED:
        deletions.add_staging(connection, [job.id])
    if job.state is State.UPLOADING:
        deletions.add_public(connection, job.id)
    return ActionResult(job_writer.write(connection, [change])[job.id])


def retry_job(connection: Connection, retry: UserRetry) -> ActionResult:
    """Puts a failed job back into the stage that failed.

    Raises `Refusal`: JOB_NOT_FOUND, WRONG_STATE, SEQUENCE_CHANGED, CONSENT_REQUIRED, IDEMPOTENCY_KEY_REUSED,
    BUDGET_EXHAUSTED, QUOTA_EXCEEDED.
    """
    job = _lock(connection, retry.tenant, retry.job_id)
    if retry.idempotency_key:
        key = idempotency.Key(tenant=retry.tenant, scope=f"jobs/{retry.job_id}/retry", key=retry.idempotency_key)
        first_use = idempotency.assign(connection, key, fingerprint=retry.fingerprint, job_id=retry.job_id)
        if first_use is not None:
            return replay(connection, first_use, retry.fingerprint)
    if retry.expected_sequence is not None and retry.expected_sequence != job.sequence:
        raise Refusal(Reason.SEQUENCE_CHANGED, f"The job is at sequence {job.sequence} now.")
    if job.state is not State.FAILED:
        raise Refusal(Reason.WRONG_STATE, f"Only a failed job can be retried; this one is {job.state}.")
    staged = {artifact.image_index for artifact in artifacts.of_jobs(connection, [job.id])[job.id]}
    missing = claim_end.images_to_retry(job, staged=staged)
    ledger = calls.of_jobs(connection, [job.id])[job.id]
    if needs_consent(job, calls=ledger, missing=missing) and not retry.consents:
        message = "A paid call's outcome is unknown; send on_ambiguous: retry to accept that it may be charged twice."
        raise Refusal(Reason.CONSENT_REQUIRED, message)
    if missing:
        _refuse_uncovered(connection, job, images=len(missing))
    rate = admit_job(connection, retry.tenant, retry.quota, priority=job.priority)
    change = transitions.user_retry(job, resume_upload=not missing, consents=retry.consents, now=jobs.clock(connection))
    return ActionResult(job_writer.write(connection, [change])[job.id], rate=rate)


def _refuse_uncovered(connection: Connection, job: Job, *, images: int) -> None:
    tenant = spending_of(connection, job.tenant)
    if tenant.allowance.has_budget:
        catalogue = providers.catalogue(connection)
        routes = [
            (catalogue[route.provider], route.model)
            for route in candidate_routes(job, catalogue)
            if route.provider in catalogue
        ]
        spending.refuse_uncovered(tenant, routes, images=images)


def delete_job(connection: Connection, tenant: str, job_id: str) -> None:
    """Deletes a final job's images, inputs and personal data; a tombstone and the ledger stay.

    Raises `Refusal`: JOB_NOT_FOUND, WRONG_STATE for a job that is not final.
    """
    job = _lock(connection, tenant, job_id)
    if job.state not in FINAL:
        raise Refusal(Reason.WRONG_STATE, f"Only a final job can be deleted; this one is {job.state}.")
    erase_job(connection, job.id, reason="user")


def erase_job(connection: Connection, job_id: str, *, reason: str) -> None:
    """Erases a locked final job, and schedules the deletion of its images. `reason` goes to the log."""
    deletions.add_staging(connection, [job_id])
    deletions.add_public(connection, job_id)
    erasure.erase(connection, job_id)
    after_commit(connection, partial(transition_log.write_deleted, job_id, reason=reason))


def _lock(connection: Connection, tenant: str, job_id: str) -> Job:
    job, _ = jobs.lock_job(connection, job_id)
    if job is None or job.tenant != tenant or job.deleted_at is not None:
        raise job_not_found(job_id, hides=job is not None and job.tenant != tenant)
    return job
