"""Creates jobs, once per idempotency key."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from calotype.error_reasons import Reason

from common.ids import new_uuid7, prefixed
from common.sql import Connection
from services.job.application import spending
from services.job.application.quotas import admit_job, precheck_quota
from services.job.domain import transitions
from services.job.domain.jobs import Snapshot
from services.job.domain.providers import Provider
from services.job.domain.quotas import Quota, Rate
from services.job.domain.refusals import Refusal
from services.job.domain.request_validation import choose
from services.job.domain.requests import JobRequest
from services.job.domain.spending import TenantSpending
from services.job.store import idempotency, inputs, job_writer, jobs, providers
from services.job.store.spending import spending_of

#: Scope of the idempotency keys of new jobs.
SCOPE = "jobs"


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A request for a new job."""

    #: Owner of the job.
    tenant: str
    #: The caller's key; "" for none.
    idempotency_key: str
    #: Digest of the request by which repetitions are compared.
    fingerprint: str
    #: What to generate, not validated yet.
    request: JobRequest
    #: Input images that were sent as bytes, by index; -1 is the mask.
    input_bytes: Mapping[int, bytes] = field(default_factory=dict)
    #: W3C trace context; None without tracing.
    traceparent: str | None = None
    #: Quota of the tenant; None when the caller knows none.
    quota: Quota | None = None
    #: Age in seconds up to which a request with the same fingerprint is joined instead; None to never join.
    join_within_seconds: int | None = None


class ActionResult(NamedTuple):
    """Result of a client's action on a job."""

    #: The job after the action.
    snapshot: Snapshot
    #: Whether nothing was changed, as the key was known or an earlier job was joined.
    replayed: bool = False
    #: The tenant's request rate after the action; None without such a quota.
    rate: Rate | None = None
    #: Whether the job is as it was, although the action was no repetition: it had been canceled before.
    is_unchanged: bool = False


def create_job(connection: Connection, new: NewJob) -> ActionResult:
    """Creates a job, or returns the one of the key or the joined one.

    Raises `Refusal`: IDEMPOTENCY_KEY_REUSED, JOB_DELETED, BUDGET_EXHAUSTED, QUOTA_EXCEEDED, or those of
    `request_validation.choose`.
    """
    joined = _joined(connection, new)
    job_id = joined or prefixed("job", new_uuid7())
    if new.idempotency_key:
        key = idempotency.Key(tenant=new.tenant, scope=SCOPE, key=new.idempotency_key)
        first_use = idempotency.assign(connection, key, fingerprint=new.fingerprint, job_id=job_id)
        if first_use is not None:
            return replay(connection, first_use, new.fingerprint)
    if joined is not None:
        return replay(connection, idempotency.FirstUse(fingerprint=new.fingerprint, job_id=joined), new.fingerprint)
    provider, model = _route(connection, new)
    if new.input_bytes:
        precheck_quota(connection, new.tenant, new.quota, priority=new.request.priority)
        # Before the lock that other requests of the tenant wait for: this may take seconds.
        inputs.add(connection, job_id, new.input_bytes)
    rate = admit_job(connection, new.tenant, new.quota, priority=new.request.priority)
    job = transitions.submit(
        job_id=job_id,
        tenant=new.tenant,
        request=new.request,
        provider=provider.name,
        model=model,
        traceparent=new.traceparent,
        now=jobs.clock(connection),
    )
    return ActionResult(job_writer.write_new(connection, job), rate=rate)


def _route(connection: Connection, new: NewJob) -> tuple[Provider, str]:
    """Returns provider and model of the job: of those that its tenant may use, within its budget."""
    return choose_route(new.request, providers.offered(connection), spending_of(connection, new.tenant))


def choose_route(request: JobRequest, offered: Mapping[str, Provider], tenant: TenantSpending) -> tuple[Provider, str]:
    """Returns provider and model of a job, of the offered providers that its tenant may use, within its budget.

    Raises `Refusal`: BUDGET_EXHAUSTED, or those of `request_validation.choose`.
    """
    allowed, fallbacks = tenant.allowance.narrow(offered), tenant.allowance.fallback_providers(offered)
    if offered and not allowed:
        raise Refusal(Reason.PROVIDER_NOT_FOUND, "No provider is offered to this tenant.")
    provider, model = choose(request, allowed, fallbacks=fallbacks)
    routes = {"model" if request.model else "provider": (provider, model)}
    for index, name in enumerate(request.fallback):
        routes[f"fallback.{index}"] = (fallbacks[name], fallbacks[name].default_model)
    spending.refuse_unpriced(tenant, routes)
    spending.refuse_uncovered(tenant, routes.values(), images=request.n)
    return provider, model


def _joined(connection: Connection, new: NewJob) -> str | None:
    """Returns the id of the job that a repeated request without a key joins; None for none."""
    if new.join_within_seconds is None:
        return None
    # Held until this transaction ends: a repetition sees what the earlier request wrote, however slow that was.
    idempotency.lock_fingerprint(connection, new.tenant, SCOPE, new.fingerprint)
    return idempotency.newest_job_of_fingerprint(
        connection, new.tenant, SCOPE, new.fingerprint, within_seconds=new.join_within_seconds
    )


def replay(connection: Connection, first_use: idempotency.FirstUse, fingerprint: str) -> ActionResult:
    """Returns the current state of a key's job.

    Raises `Refusal`: IDEMPOTENCY_KEY_REUSED for another body, JOB_DELETED.
    """
    if first_use.fingerprint != fingerprint:
        raise key_reused()
    # Locked, so that its images and calls are read at the same moment.
    job, _ = jobs.lock_job(connection, first_use.job_id)
    if job is None or job.deleted_at is not None:
        raise job_deleted(first_use.job_id)
    return ActionResult(job_writer.snapshots(connection, [job])[job.id], replayed=True)


def key_reused() -> Refusal:
    """Builds the refusal of another body under a used key."""
    return Refusal(Reason.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used before with another body.")


def job_deleted(job_id: str) -> Refusal:
    """Builds the refusal of a key whose job was deleted."""
    return Refusal(Reason.JOB_DELETED, f"The job {job_id} that this Idempotency-Key made was deleted.")


def fingerprint_of(*parts: bytes) -> str:
    """Returns a SHA-256 digest in hex of the parts, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
