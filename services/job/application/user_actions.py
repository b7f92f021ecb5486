"""What users decide about a job: cancel it, or try it again."""

from dataclasses import dataclass

from sqlalchemy import Connection

from services.job.application import spending
from services.job.application.quotas import admit_job
from services.job.application.submission import ActionResult, replayed
from services.job.domain import claim_end, transitions
from services.job.domain.calls import needs_consent
from services.job.domain.jobs import Job, ProviderCancel
from services.job.domain.provider_cancel import cancel_requested
from services.job.domain.quotas import Quota
from services.job.domain.refusals import Refusal, job_not_found
from services.job.domain.routing import candidate_routes
from services.job.domain.states import FINAL, State
from services.job.store import artifacts, attempts, calls, deletions, erasure, idempotency, job_writer, jobs, providers
from services.job.store.spending import standing_of


@dataclass(frozen=True, kw_only=True)
class UserRetry:
    """A user's wish to have a failed job tried again."""

    tenant: str
    job_id: str
    idempotency_key: str
    fingerprint: str
    consents: bool
    expected_sequence: int | None
    quota: Quota | None = None


def cancel_job(connection: Connection, tenant: str, job_id: str, *, idempotency_key: str = "") -> ActionResult:
    """End a job; asked again of a canceled one, answers the same. Raises `Refusal` WRONG_STATE when otherwise final."""
    job = _lock(connection, tenant, job_id)
    if idempotency_key:
        key = idempotency.Key(tenant=tenant, scope=f"jobs/{job_id}/cancel", key=idempotency_key)
        taken = idempotency.take(connection, key, fingerprint="", job_id=job_id)
        if taken is not None:
            return replayed(connection, taken, "")
    if job.state is State.CANCELED:
        return ActionResult(job_writer.snapshots(connection, [job])[job.id])
    if job.state in FINAL:
        raise Refusal("WRONG_STATE", f"The job is {job.state} already.")
    wish = cancel_requested(calls.of_jobs(connection, [job.id])[job.id], providers.catalogue(connection))
    change = transitions.cancel(job, provider_cancel=wish, now=jobs.clock(connection))
    if job.lease is not None:
        attempts.end(connection, [attempts.End(job_id=job.id, claim_number=job.claim_number, outcome="canceled")])
    if wish is ProviderCancel.NOT_NEEDED:
        deletions.add_staging(connection, [job.id])
    if job.state is State.UPLOADING:
        deletions.add_public(connection, job.id)
    return ActionResult(job_writer.write(connection, [change])[job.id])


def retry_job(connection: Connection, retry: UserRetry) -> ActionResult:
    """Put a failed job back.

    Raises `Refusal`: JOB_NOT_FOUND, WRONG_STATE, SEQUENCE_CHANGED, CONSENT_REQUIRED, IDEMPOTENCY_KEY_REUSED,
    BUDGET_EXHAUSTED, QUOTA_EXCEEDED.
    """
    job = _lock(connection, retry.tenant, retry.job_id)
    if retry.idempotency_key:
        key = idempotency.Key(tenant=retry.tenant, scope=f"jobs/{retry.job_id}/retry", key=retry.idempotency_key)
        taken = idempotency.take(connection, key, fingerprint=retry.fingerprint, job_id=retry.job_id)
        if taken is not None:
            return replayed(connection, taken, retry.fingerprint)
    if retry.expected_sequence is not None and retry.expected_sequence != job.sequence:
        raise Refusal("SEQUENCE_CHANGED", f"The job is at sequence {job.sequence} now.")
    if job.state is not State.FAILED:
        raise Refusal("WRONG_STATE", f"Only a failed job can be retried; this one is {job.state}.")
    staged = {artifact.image_index for artifact in artifacts.of_jobs(connection, [job.id])[job.id]}
    wanted = claim_end.images_to_retry(job, staged=staged)
    ledger = calls.of_jobs(connection, [job.id])[job.id]
    if needs_consent(job, calls=ledger, missing=wanted) and not retry.consents:
        message = "A paid call's outcome is unknown; say on_ambiguous: retry to accept that it may be charged twice."
        raise Refusal("CONSENT_REQUIRED", message)
    if wanted:
        _refuse_uncovered(connection, job, images=len(wanted))
    rate = admit_job(connection, retry.tenant, retry.quota, priority=job.priority)
    change = transitions.user_retry(job, resume_upload=not wanted, consents=retry.consents, now=jobs.clock(connection))
    return ActionResult(job_writer.write(connection, [change])[job.id], rate=rate)


def _refuse_uncovered(connection: Connection, job: Job, *, images: int) -> None:
    standing = standing_of(connection, job.tenant)
    if standing.allowance.has_budget:
        catalogue = providers.catalogue(connection)
        ways = [
            (catalogue[one.provider], one.model)
            for one in candidate_routes(job, catalogue)
            if one.provider in catalogue
        ]
        spending.refuse_uncovered(standing, ways, images=images)


def delete_job(connection: Connection, tenant: str, job_id: str) -> None:
    """Let go of a final job's pictures, inputs and personal data; a tombstone and the ledger stay.

    Raises `Refusal` JOB_NOT_FOUND, or WRONG_STATE unless final.
    """
    job = _lock(connection, tenant, job_id)
    if job.state not in FINAL:
        raise Refusal("WRONG_STATE", f"Only a final job can be deleted; this one is {job.state}.")
    erase_job(connection, job.id)


def erase_job(connection: Connection, job_id: str) -> None:
    """Erase a locked final job, and have its pictures deleted."""
    deletions.add_staging(connection, [job_id])
    deletions.add_public(connection, job_id)
    erasure.erase(connection, job_id)


def _lock(connection: Connection, tenant: str, job_id: str) -> Job:
    job, _ = jobs.lock_one(connection, job_id)
    if job is None or job.tenant != tenant or job.deleted_at is not None:
        raise job_not_found(job_id, hides=job is not None and job.tenant != tenant)
    return job
