"""The ledger's side of a provider call: allowed before it leaves, told its operation after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from services.job.application import call_tokens, ledger, spending
from services.job.application.fact_checks import refuse_without_token
from services.job.application.provider_limits import frees_slot, record_outcomes, refuse_beyond_limits
from services.job.domain import transitions
from services.job.domain.calls import Known, Phase, ProviderCall, check_purchase
from services.job.domain.circuit_breakers import Route
from services.job.domain.jobs import Fence, Job
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.request_validation import lost_options
from services.job.domain.states import AT_GENERATOR
from services.job.store import artifacts, calls, job_writer, jobs, providers
from services.job.store.spending import standing_of


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """What a generator wants to buy."""

    fence: Fence
    #: Chosen by the worker, so that asking again after a lost answer gives the same call.
    call_id: str
    provider: str
    model: str
    image_indexes: tuple[int, ...]
    request_digest: str
    #: What its worker knows of earlier calls: settled before the decision.
    known: Known = field(default_factory=Known)
    #: Whether its worker shows the call's token with each fact about it.
    shows_tokens: bool = False


@dataclass(frozen=True, kw_only=True)
class BegunCall:
    """A call that may leave, with its token; and whether jobs may be waiting for a place that another call has left."""

    call: ProviderCall
    token: bytes = field(repr=False)
    frees_slot: bool = False


def begin_provider_call(connection: Connection, purchase: Purchase) -> BegunCall:
    """Write a call down and move its job to GENERATING, once the ledger knows what the worker knows.

    Raises `Refusal`: LEASE_LOST, ALREADY_BOUGHT, CONSENT_REQUIRED, BUDGET_EXHAUSTED, PROVIDER_BUSY, PROVIDER_NOT_FOUND,
    UNSUPPORTED, INVALID_INPUT.
    """
    job = _held(connection, purchase.fence)
    if (asked_before := calls.get(connection, purchase.call_id)) is not None:
        return _with_token(connection, _same_call(job, asked_before))
    settled = _learn(connection, job, purchase.fence, purchase.known)
    provider = _provider(connection, purchase.provider)
    standing = standing_of(connection, job.tenant)
    if not standing.allowance.allows(Route(provider=provider.name, model=purchase.model)):
        raise _no_provider(provider.name)
    if provider.name not in (job.provider, *job.fallback):
        raise Refusal("INVALID_INPUT", f"provider: job {job.id} does not name {provider.name}.")
    if job.request is not None and (lost := lost_options(job.request, provider.as_model(purchase.model).capabilities)):
        raise Refusal("UNSUPPORTED", f"{provider.name} does not take {', '.join(lost)}.")
    # Later statements than the lock: see `services.job.store.jobs.lock`.
    known = calls.of_jobs(connection, [job.id])[job.id]
    staged = {artifact.image_index for artifact in artifacts.of_jobs(connection, [job.id])[job.id]}
    consent, lifts = check_purchase(job, indexes=purchase.image_indexes, calls=known, staged=staged)
    call = ProviderCall(
        id=purchase.call_id,
        job_id=job.id,
        claim_number=job.claim_number,
        provider=provider.name,
        model=purchase.model,
        phase=Phase.INTENDED,
        image_indexes=tuple(sorted(set(purchase.image_indexes))),
        idempotency_key=purchase.call_id,
        request_digest=purchase.request_digest,
        consent=consent,
        timeout_seconds=provider.timeout_seconds,
        resumable=provider.capabilities.resumable,
        token_required=purchase.shows_tokens,
        created_at=standing.now,
    )
    call = spending.reserve(connection, standing, call, provider)
    refuse_beyond_limits(connection, provider, job)
    # Not the time from before: the limits count the requests of the last minute, and others were waited for.
    call = replace(call, created_at=_begins_at(job, jobs.clock(connection)))
    calls.add(connection, call, lifts=lifts)
    return _begun(connection, job, call, purchase.known, settled)


def resend_provider_call(
    connection: Connection, fence: Fence, call_id: str, known: Known, *, shows_tokens: bool = False
) -> BegunCall:
    """Allow an open call of an earlier claim to be sent again under its own key: only where that costs nothing.

    Raises `Refusal`: LEASE_LOST, CALL_NOT_FOUND, ALREADY_BOUGHT, PROVIDER_BUSY, PROVIDER_NOT_FOUND.
    """
    job = _held(connection, fence)
    settled = _learn(connection, job, fence, known)
    call = _call_of(connection, job, call_id)
    provider = _provider(connection, call.provider)
    able = provider.capabilities
    if call.phase is not Phase.INTENDED or not (able.free or able.idempotent):
        raise Refusal("ALREADY_BOUGHT", f"Call {call.id} is {call.phase} and may not be sent again.")
    if call.claim_number == job.claim_number:
        # Asked again after a lost answer.
        return _with_token(connection, call)
    refuse_beyond_limits(connection, provider, job, resent=call.id)
    calls.resend(connection, call.id, claim_number=job.claim_number)
    calls.give_to(connection, call.id, shows_tokens=shows_tokens)
    return _begun(connection, job, replace(call, claim_number=job.claim_number), known, settled)


def follow_provider_call(
    connection: Connection, fence: Fence, call_id: str, known: Known, *, shows_tokens: bool = False
) -> BegunCall:
    """Move a job to GENERATING whose worker fetches what an earlier claim bought; nothing is bought.

    Raises `Refusal`: LEASE_LOST, CALL_NOT_FOUND.
    """
    job = _held(connection, fence)
    settled = _learn(connection, job, fence, known)
    call = _call_of(connection, job, call_id)
    if call.operation_id is None:
        raise Refusal("CALL_NOT_FOUND", f"Call {call.id} has no operation to follow.")
    calls.give_to(connection, call.id, shows_tokens=shows_tokens)
    return _begun(connection, job, call, known, settled)


def record_operation(
    connection: Connection, call_id: str, *, operation_id: str, state: Mapping[str, str], token: bytes = b""
) -> None:
    """Write down the provider's operation id: no fence, as it only adds to the ledger, but its token. Twice is fine.

    Raises `Refusal`: INVALID_INPUT, CALL_NOT_FOUND.
    """
    if not operation_id:
        raise Refusal("INVALID_INPUT", "operation_id: must not be empty.")
    if (call := calls.get(connection, call_id)) is None:
        raise Refusal("CALL_NOT_FOUND", f"There is no call {call_id[:80]!r}.")
    refuse_without_token(connection, job_id=call.job_id, call_id=call_id, token=token)
    if calls.accept(connection, call_id, operation_id=operation_id, state=state):
        return
    job, now = jobs.lock_one(connection, call.job_id)
    # Of a failed job it says that the result can be fetched after all.
    late = [job] if job is not None and job.is_final else []
    before = job_writer.snapshots(connection, late)
    calls.name_operation(connection, call_id, operation_id=operation_id, state=state)
    job_writer.write(
        connection, ledger.news(connection, [ledger.LateReport(job=one) for one in late], before, (), now=now)
    )


def _begins_at(job: Job, now: datetime) -> datetime:
    """Not before the consent under which it may be, though the database's clock was set back since."""
    return now if job.consented_at is None else max(now, job.consented_at)


def _learn(connection: Connection, job: Job, fence: Fence, known: Known) -> list[calls.SettledCall]:
    settled = ledger.settle(connection, [(job.id, ledger.own(connection, fence, known))], {job.id: job})
    spending.settle(connection, settled)
    return settled


def _begun(
    connection: Connection, job: Job, call: ProviderCall, known: Known, settled: Sequence[calls.SettledCall]
) -> BegunCall:
    job_writer.write(connection, [transitions.begin_call(job, now=jobs.clock(connection))])
    # Last of all: whoever holds a breaker locks nothing more.
    record_outcomes(connection, known.calls, settled)
    return replace(_with_token(connection, call), frees_slot=frees_slot(connection, settled))


def _with_token(connection: Connection, call: ProviderCall) -> BegunCall:
    return BegunCall(call=call, token=call_tokens.read(connection).of(job_id=call.job_id, call_id=call.id))


def _call_of(connection: Connection, job: Job, call_id: str) -> ProviderCall:
    call = calls.get(connection, call_id)
    if call is None or call.job_id != job.id:
        raise Refusal("CALL_NOT_FOUND", f"Job {job.id} has no call {call_id[:80]!r}.")
    return call


def _same_call(job: Job, call: ProviderCall) -> ProviderCall:
    if call.job_id != job.id or call.claim_number != job.claim_number:
        raise Refusal("INVALID_INPUT", "call_id: names another call.")
    return call


def _held(connection: Connection, fence: Fence) -> Job:
    job = jobs.hold(connection, fence.job_id)
    if job is None or job.state not in AT_GENERATOR or not job.is_held_by(fence):
        raise Refusal("LEASE_LOST", f"The lease on {fence.job_id[:80]} is no longer held; begin nothing more for it.")
    return job


def _provider(connection: Connection, name: str) -> Provider:
    provider = providers.catalogue(connection).get(name)
    if provider is None:
        raise _no_provider(name)
    return provider


def _no_provider(name: str) -> Refusal:
    """The same words for a provider that is not there and for one that the tenant may not use."""
    return Refusal("PROVIDER_NOT_FOUND", f"No generator has registered a provider {name[:80]!r}.")
