"""New provider calls: what is read, checked and written for one or for several of one provider."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application.call_tokens import CALL_TOKENS, CallTokens
from services.job.domain import transitions
from services.job.domain.calls import CallPhase, ProviderCall, WorkerReport, check_purchase
from services.job.domain.circuit_breakers import Route
from services.job.domain.jobs import Fence, Job
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.request_validation import lost_options
from services.job.domain.spending import TenantSpending
from services.job.domain.states import AT_GENERATOR
from services.job.store import artifacts, calls, job_writer
from services.job.store.spending import PurchaseTerms, purchase_terms


@dataclass(frozen=True, kw_only=True)
class CallRequest:
    """A generator's request for a new provider call."""

    #: The claim under which it is sent.
    fence: Fence
    #: Chosen by the worker, so that a repeated request after a lost response returns the same call.
    call_id: str
    #: Name of the provider.
    provider: str
    #: Name of the model.
    model: str
    #: Images to buy, by index in the job.
    image_indexes: tuple[int, ...]
    #: SHA-256 of the request to the provider, 64 hex digits.
    request_digest: str
    #: The worker's report on earlier calls, which is written first.
    report: WorkerReport = field(default_factory=WorkerReport)
    #: Whether the worker adds call tokens to its facts.
    shows_tokens: bool = False


@dataclass(frozen=True, kw_only=True)
class BegunCall:
    """A call that may be sent."""

    #: The recorded call.
    call: ProviderCall
    #: Its call token, 32 bytes.
    token: bytes = field(repr=False)
    #: Whether an earlier call of the report freed a slot, for which jobs may wait.
    frees_slot: bool = False


@dataclass(frozen=True, kw_only=True)
class PurchaseRecords:
    """What was read about new calls."""

    #: What decides besides the jobs.
    terms: PurchaseTerms
    #: Calls of each job by job id, oldest first.
    of_jobs: Mapping[str, Sequence[ProviderCall]]
    #: Recorded calls with one of the requested ids.
    by_id: Mapping[str, ProviderCall]
    #: Indexes of staged images by job id.
    staged: Mapping[str, set[int]]


@dataclass(frozen=True, kw_only=True)
class NewCall:
    """A call that its job allows."""

    #: Its locked job.
    job: Job
    #: What will be recorded.
    call: ProviderCall
    #: Its provider.
    provider: Provider
    #: Owner of the job.
    tenant: TenantSpending
    #: Ids of earlier calls that no longer block its images.
    lifts: tuple[str, ...]


def read(connection: Connection, held: Sequence[Job], requests: Sequence[CallRequest]) -> PurchaseRecords:
    """Reads what decides about new calls of one provider; `held` are their locked jobs, at least one."""
    # In statements after the lock: see `services.job.store.jobs.lock`.
    job_ids, ids = {job.id for job in held}, {request.call_id for request in requests}
    found = calls.of_jobs_and_ids(connection, job_ids, ids)
    of_jobs: dict[str, list[ProviderCall]] = defaultdict(list)
    for call in found:
        of_jobs[call.job_id].append(call)
    # Before a job's first call no image of it can be staged.
    images = artifacts.of_jobs(connection, [job.id for job in held if job.may_have_calls])
    return PurchaseRecords(
        terms=purchase_terms(connection, requests[0].provider, {job.tenant for job in held}, key_name=CALL_TOKENS),
        of_jobs=of_jobs,
        by_id={call.id: call for call in found if call.id in ids},
        staged={job_id: {image.image_index for image in staged} for job_id, staged in images.items()},
    )


def require_held(job: Job | None, fence: Fence) -> Job:
    """Returns the locked job of a claim. Raises `Refusal` LEASE_LOST if the claim is not held."""
    if job is None or job.state not in AT_GENERATOR or not job.is_held_by(fence):
        raise Refusal(Reason.LEASE_LOST, f"The lease on {fence.job_id[:80]} is no longer held; begin no call for it.")
    return job


def repeated(job: Job, request: CallRequest, known: PurchaseRecords) -> BegunCall | None:
    """Returns the call that a repeated request has begun; None for a new one.

    Raises `Refusal` INVALID_INPUT if the id is that of another call.
    """
    call = known.by_id.get(request.call_id)
    if call is None:
        return None
    if call.job_id != job.id or call.claim_number != job.claim_number:
        raise Refusal(Reason.INVALID_INPUT, "call_id: names another call.")
    return _with_token(call, known)


def check(job: Job, request: CallRequest, known: PurchaseRecords) -> NewCall:
    """Returns a new call that its job, its tenant and its provider's capabilities allow, whatever the limits say.

    Raises `Refusal`: PROVIDER_NOT_FOUND, INVALID_INPUT, UNSUPPORTED, ALREADY_BOUGHT, CONSENT_REQUIRED.
    """
    provider, tenant = known.terms.provider, known.terms.tenants[job.tenant]
    if provider is None or not tenant.allowance.allows(Route(provider=request.provider, model=request.model)):
        raise no_provider(request.provider)
    if provider.name not in (job.provider, *job.fallback):
        raise Refusal(Reason.INVALID_INPUT, f"provider: job {job.id} does not name {provider.name}.")
    if job.request is not None and (lost := lost_options(job.request, provider.as_model(request.model).capabilities)):
        raise Refusal(Reason.UNSUPPORTED, f"{provider.name} does not support {', '.join(lost)}.")
    earlier, staged = known.of_jobs.get(job.id, ()), known.staged.get(job.id, set())
    consent, lifts = check_purchase(job, indexes=request.image_indexes, calls=earlier, staged=staged)
    call = ProviderCall(
        id=request.call_id,
        job_id=job.id,
        claim_number=job.claim_number,
        provider=provider.name,
        model=request.model,
        phase=CallPhase.INTENDED,
        image_indexes=tuple(sorted(set(request.image_indexes))),
        idempotency_key=request.call_id,
        request_digest=request.request_digest,
        consent=consent,
        timeout_seconds=provider.timeout_seconds,
        resumable=provider.capabilities.resumable,
        token_required=request.shows_tokens,
        created_at=tenant.now,
    )
    return NewCall(job=job, call=call, provider=provider, tenant=tenant, lifts=lifts)


def write(connection: Connection, new: Sequence[NewCall], known: PurchaseRecords, *, now: datetime) -> list[BegunCall]:
    """Records calls at a time, which must be after the locks of their limits, and moves their jobs to GENERATING."""
    begun = [replace(each, call=replace(each.call, created_at=_begins_at(each.job, now))) for each in new]
    for each in begun:
        calls.lift(connection, each.lifts, each.call.image_indexes)
    calls.add(connection, [each.call for each in begun])
    ledgers = {each.job.id: [*known.of_jobs.get(each.job.id, ()), each.call] for each in begun}
    changes = [transitions.begin_call(each.job, now=each.call.created_at) for each in begun]
    job_writer.write(connection, changes, known=job_writer.KnownRows(calls=ledgers))
    return [_with_token(each.call, known) for each in begun]


def no_provider(name: str) -> Refusal:
    """Builds the refusal for an unknown provider; one that the tenant may not use gets the same message."""
    return Refusal(Reason.PROVIDER_NOT_FOUND, f"No generator has registered a provider {name[:80]!r}.")


def _begins_at(job: Job, now: datetime) -> datetime:
    """Returns the call's time: never before the consent that allows it, even if the database's clock was set back."""
    return now if job.consented_at is None else max(now, job.consented_at)


def _with_token(call: ProviderCall, known: PurchaseRecords) -> BegunCall:
    return BegunCall(call=call, token=CallTokens(known.terms.token_key).of(job_id=call.job_id, call_id=call.id))
