"""Accept a job: once per key, whatever is repeated."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from common.ids import new_uuid7, prefixed
from services.job.application import spending
from services.job.application.quotas import admit_job, precheck_quota
from services.job.domain import transitions
from services.job.domain.jobs import Snapshot
from services.job.domain.providers import Provider
from services.job.domain.quotas import Quota, Rate
from services.job.domain.refusals import Refusal
from services.job.domain.request_validation import choose
from services.job.domain.requests import JobRequest
from services.job.store import idempotency, inputs, job_writer, jobs, providers
from services.job.store.spending import standing_of

SCOPE = "jobs"


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What a caller asks for; `pictures` are input images that came as bytes, by index (-1 is the mask).

    `join_within_seconds`: how long ago a job of the same fingerprint may last have been asked for to be joined; None
    for callers that never join.
    """

    tenant: str
    idempotency_key: str
    fingerprint: str
    request: JobRequest
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    traceparent: str | None = None
    quota: Quota | None = None
    join_within_seconds: int | None = None


class ActionResult(NamedTuple):
    """What came of a wish; `replayed` says that its key was known, or a job was joined, and nothing was done."""

    seen: Snapshot
    replayed: bool = False
    rate: Rate | None = None


def create_job(connection: Connection, new: NewJob) -> ActionResult:
    """Write a job down, or find the one that the key stands for.

    Raises `Refusal`: IDEMPOTENCY_KEY_REUSED, JOB_DELETED, BUDGET_EXHAUSTED, QUOTA_EXCEEDED, or whatever is wrong with
    the request.
    """
    joined = _joined(connection, new)
    job_id = joined or prefixed("job", new_uuid7())
    if new.idempotency_key:
        key = idempotency.Key(tenant=new.tenant, scope=SCOPE, key=new.idempotency_key)
        taken = idempotency.take(connection, key, fingerprint=new.fingerprint, job_id=job_id)
        if taken is not None:
            return replayed(connection, taken, new.fingerprint)
    if joined is not None:
        return replayed(connection, idempotency.Taken(fingerprint=new.fingerprint, job_id=joined), new.fingerprint)
    provider, model = _way(connection, new)
    if new.pictures:
        precheck_quota(connection, new.tenant, new.quota, priority=new.request.priority)
        # Before anything that others of the tenant wait for: this may take seconds.
        inputs.add(connection, job_id, new.pictures)
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


def _way(connection: Connection, new: NewJob) -> tuple[Provider, str]:
    """Where the job goes: of what its tenant may use, and by what its budget covers now."""
    offered, standing, request = providers.offered(connection), standing_of(connection, new.tenant), new.request
    mine, around = standing.allowance.narrow(offered), standing.allowance.fallback_providers(offered)
    if offered and not mine:
        raise Refusal("PROVIDER_NOT_FOUND", "No provider is offered to this tenant.")
    provider, model = choose(request, mine, fallbacks=around)
    ways = {"model" if request.model else "provider": (provider, model)}
    ways |= {f"fallback.{i}": (around[name], around[name].default_model) for i, name in enumerate(request.fallback)}
    spending.refuse_unpriced(standing, ways)
    spending.refuse_uncovered(standing, ways.values(), images=request.n)
    return provider, model


def _joined(connection: Connection, new: NewJob) -> str | None:
    """The job that a caller without a key repeats itself about."""
    if new.join_within_seconds is None:
        return None
    # Until this transaction ends: a repetition sees what the request before it wrote, however slow that was.
    idempotency.lock_fingerprint(connection, new.tenant, SCOPE, new.fingerprint)
    return idempotency.newest_job_of_fingerprint(
        connection, new.tenant, SCOPE, new.fingerprint, within_seconds=new.join_within_seconds
    )


def replayed(connection: Connection, taken: idempotency.Taken, fingerprint: str) -> ActionResult:
    """The job that a key stands for, as it is now. Raises `Refusal` for another body or a job that is gone."""
    if taken.fingerprint != fingerprint:
        raise Refusal("IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key was used before with another body.")
    # Locked, so that what is read of it afterwards is of the same moment.
    job, _ = jobs.lock_one(connection, taken.job_id)
    if job is None or job.deleted_at is not None:
        raise Refusal("JOB_DELETED", f"The job {taken.job_id} that this Idempotency-Key made was deleted.")
    return ActionResult(job_writer.snapshots(connection, [job])[job.id], replayed=True)


def fingerprint_of(*parts: bytes) -> str:
    """Digest by which replays are compared."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
