"""Records provider calls: each is allowed and recorded before it is sent, and its operation id afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application import call_tokens, ledger, spending
from services.job.application.fact_checks import refuse_without_token
from services.job.application.provider_limits import frees_slot, record_outcomes, refuse_beyond_limits
from services.job.domain import transitions
from services.job.domain.calls import CallPhase, ProviderCall, WorkerReport, check_purchase
from services.job.domain.circuit_breakers import Route
from services.job.domain.jobs import Fence, Job
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.request_validation import lost_options
from services.job.domain.states import AT_GENERATOR
from services.job.store import artifacts, calls, job_writer, jobs, providers
from services.job.store.spending import spending_of


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


def begin_provider_call(connection: Connection, purchase: CallRequest) -> BegunCall:
    """Records a new call and moves its job to GENERATING, after the worker's report was written to the ledger.

    Raises `Refusal`: LEASE_LOST, ALREADY_BOUGHT, CONSENT_REQUIRED, BUDGET_EXHAUSTED, PROVIDER_BUSY, PROVIDER_NOT_FOUND,
    UNSUPPORTED, INVALID_INPUT.
    """
    job, _ = _held(connection, purchase.fence)
    if (repeated := calls.get(connection, purchase.call_id)) is not None:
        return _with_token(connection, _same_call(job, repeated))
    settled = _settle(connection, job, purchase.fence, purchase.report)
    provider = _provider(connection, purchase.provider)
    tenant = spending_of(connection, job.tenant)
    if not tenant.allowance.allows(Route(provider=provider.name, model=purchase.model)):
        raise _no_provider(provider.name)
    if provider.name not in (job.provider, *job.fallback):
        raise Refusal(Reason.INVALID_INPUT, f"provider: job {job.id} does not name {provider.name}.")
    if job.request is not None and (lost := lost_options(job.request, provider.as_model(purchase.model).capabilities)):
        raise Refusal(Reason.UNSUPPORTED, f"{provider.name} does not support {', '.join(lost)}.")
    # In statements after the lock: see `services.job.store.jobs.lock`.
    earlier = calls.of_jobs(connection, [job.id])[job.id]
    staged = {artifact.image_index for artifact in artifacts.of_jobs(connection, [job.id])[job.id]}
    consent, lifts = check_purchase(job, indexes=purchase.image_indexes, calls=earlier, staged=staged)
    call = ProviderCall(
        id=purchase.call_id,
        job_id=job.id,
        claim_number=job.claim_number,
        provider=provider.name,
        model=purchase.model,
        phase=CallPhase.INTENDED,
        image_indexes=tuple(sorted(set(purchase.image_indexes))),
        idempotency_key=purchase.call_id,
        request_digest=purchase.request_digest,
        consent=consent,
        timeout_seconds=provider.timeout_seconds,
        resumable=provider.capabilities.resumable,
        token_required=purchase.shows_tokens,
        created_at=tenant.now,
    )
    call = spending.reserve(connection, tenant, call, provider)
    refuse_beyond_limits(connection, provider, job)
    # A new time: the limits count the calls of the last minute, and the lock may have taken a while.
    now = _begins_at(job, jobs.clock(connection))
    call = replace(call, created_at=now)
    calls.add(connection, call, lifts=lifts)
    return _begun(connection, job, call, purchase.report, settled, now=now)


def resend_provider_call(
    connection: Connection, fence: Fence, call_id: str, report: WorkerReport, *, shows_tokens: bool = False
) -> BegunCall:
    """Allows an open call of an earlier claim to be sent again with its own key, where a repetition costs nothing.

    Raises `Refusal`: LEASE_LOST, CALL_NOT_FOUND, ALREADY_BOUGHT, PROVIDER_BUSY, PROVIDER_NOT_FOUND.
    """
    job, _ = _held(connection, fence)
    settled = _settle(connection, job, fence, report)
    call = _call_of(connection, job, call_id)
    provider = _provider(connection, call.provider)
    able = provider.capabilities
    if call.phase is not CallPhase.INTENDED or not (able.free or able.idempotent):
        raise Refusal(Reason.ALREADY_BOUGHT, f"Call {call.id} is {call.phase} and may not be sent again.")
    if call.claim_number == job.claim_number:
        # A repeated request after a lost response.
        return _with_token(connection, call)
    refuse_beyond_limits(connection, provider, job, resent=call.id)
    calls.resend(connection, call.id, claim_number=job.claim_number)
    calls.set_token_required(connection, call.id, is_required=shows_tokens)
    now = jobs.clock(connection)
    return _begun(connection, job, replace(call, claim_number=job.claim_number), report, settled, now=now)


def follow_provider_call(
    connection: Connection, fence: Fence, call_id: str, report: WorkerReport, *, shows_tokens: bool = False
) -> BegunCall:
    """Moves a job to GENERATING whose worker fetches the result of an earlier claim's call; nothing is bought.

    Raises `Refusal`: LEASE_LOST, CALL_NOT_FOUND.
    """
    job, now = _held(connection, fence)
    settled = _settle(connection, job, fence, report)
    call = _call_of(connection, job, call_id)
    if call.operation_id is None:
        raise Refusal(Reason.CALL_NOT_FOUND, f"Call {call.id} has no operation to follow.")
    calls.set_token_required(connection, call.id, is_required=shows_tokens)
    return _begun(connection, job, call, report, settled, now=now)


def record_operation(
    connection: Connection, call_id: str, *, operation_id: str, state: Mapping[str, str], token: bytes = b""
) -> None:
    """Records the provider's operation id; a repetition changes nothing.

    It needs the call's token but no valid claim, as it only adds to the ledger.
    Raises `Refusal`: INVALID_INPUT, CALL_NOT_FOUND.
    """
    if not operation_id:
        raise Refusal(Reason.INVALID_INPUT, "operation_id: must not be empty.")
    if (call := calls.get(connection, call_id)) is None:
        raise Refusal(Reason.CALL_NOT_FOUND, f"There is no call {call_id[:80]!r}.")
    refuse_without_token(connection, job_id=call.job_id, call_id=call_id, token=token)
    if calls.accept(connection, call_id, operation_id=operation_id, state=state):
        return
    job, now = jobs.lock_job(connection, call.job_id)
    # A failed job's result can be fetched after all, so that its retry may need no consent.
    final = [job] if job is not None and job.is_final else []
    before = job_writer.snapshots(connection, final)
    calls.name_operation(connection, call_id, operation_id=operation_id, state=state)
    reports = [ledger.LateReport(job=job) for job in final]
    job_writer.write(connection, ledger.visible_changes(connection, reports, before, (), now=now))


def _begins_at(job: Job, now: datetime) -> datetime:
    """Returns the call's time: never before the consent that allows it, even if the database's clock was set back."""
    return now if job.consented_at is None else max(now, job.consented_at)


def _settle(connection: Connection, job: Job, fence: Fence, report: WorkerReport) -> list[calls.SettledCall]:
    settled = ledger.settle(connection, [(job.id, ledger.within_claim(connection, fence, report))], {job.id: job}).calls
    spending.settle(connection, settled)
    return settled


def _begun(
    connection: Connection,
    job: Job,
    call: ProviderCall,
    report: WorkerReport,
    settled: Sequence[calls.SettledCall],
    *,
    now: datetime,
) -> BegunCall:
    job_writer.write(connection, [transitions.begin_call(job, now=now)])
    # Last of all: a transaction that has locked a breaker must lock nothing more.
    record_outcomes(connection, report.calls, settled)
    return replace(_with_token(connection, call), frees_slot=frees_slot(settled))


def _with_token(connection: Connection, call: ProviderCall) -> BegunCall:
    return BegunCall(call=call, token=call_tokens.read(connection).of(job_id=call.job_id, call_id=call.id))


def _call_of(connection: Connection, job: Job, call_id: str) -> ProviderCall:
    call = calls.get(connection, call_id)
    if call is None or call.job_id != job.id:
        raise Refusal(Reason.CALL_NOT_FOUND, f"Job {job.id} has no call {call_id[:80]!r}.")
    return call


def _same_call(job: Job, call: ProviderCall) -> ProviderCall:
    if call.job_id != job.id or call.claim_number != job.claim_number:
        raise Refusal(Reason.INVALID_INPUT, "call_id: names another call.")
    return call


def _held(connection: Connection, fence: Fence) -> tuple[Job, datetime]:
    """Locks the job of a claim; returns it and the current time. Raises `Refusal` LEASE_LOST."""
    job, now = jobs.lock_job(connection, fence.job_id)
    if job is None or job.state not in AT_GENERATOR or not job.is_held_by(fence):
        raise Refusal(Reason.LEASE_LOST, f"The lease on {fence.job_id[:80]} is no longer held; begin no call for it.")
    return job, now


def _provider(connection: Connection, name: str) -> Provider:
    provider = providers.catalogue(connection).get(name)
    if provider is None:
        raise _no_provider(name)
    return provider


def _no_provider(name: str) -> Refusal:
    """Builds the refusal for an unknown provider; one that the tenant may not use gets the same message."""
    return Refusal(Reason.PROVIDER_NOT_FOUND, f"No generator has registered a provider {name[:80]!r}.")
