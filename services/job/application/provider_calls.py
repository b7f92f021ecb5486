"""Records provider calls: each is allowed and recorded before it is sent, and its operation id afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application import call_tokens, ledger, new_calls, spending
from services.job.application.fact_checks import refuse_without_token
from services.job.application.new_calls import BegunCall, CallRequest
from services.job.application.provider_limits import frees_slot, lock_limits, record_outcomes
from services.job.domain import transitions
from services.job.domain.calls import CallPhase, ProviderCall, WorkerReport
from services.job.domain.jobs import Fence, Job
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.store import calls, job_writer, jobs, providers


def begin_provider_call(connection: Connection, purchase: CallRequest) -> BegunCall:
    """Records a new call and moves its job to GENERATING, after the worker's report was written to the ledger.

    Raises `Refusal`: LEASE_LOST, ALREADY_BOUGHT, CONSENT_REQUIRED, BUDGET_EXHAUSTED, PROVIDER_BUSY, PROVIDER_NOT_FOUND,
    UNSUPPORTED, INVALID_INPUT.
    """
    job, _ = _held(connection, purchase.fence)
    known = new_calls.read(connection, [job], [purchase])
    if (repeated := new_calls.repeated(job, purchase, known)) is not None:
        return repeated
    settled = _settle(connection, job, purchase.fence, purchase.report)
    if purchase.report != WorkerReport():
        known = new_calls.read(connection, [job], [purchase])
    new = new_calls.check(job, purchase, known)
    new = replace(new, call=spending.reserve(connection, new.tenant, new.call, new.provider))
    now = known.terms.now
    if limits := lock_limits(connection, new.provider, [job]):
        limits.allow(job)
        now = limits.now
    [begun] = new_calls.write(connection, [new], known, now=now)
    # Last of all: a transaction that has locked a breaker must lock nothing more.
    record_outcomes(connection, purchase.report.calls, settled)
    return replace(begun, frees_slot=frees_slot(settled))


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
    if limits := lock_limits(connection, provider, [job], resent=call.id):
        limits.allow(job)
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
    if (record := calls.records(connection, {call_id}).get(call_id)) is None:
        raise Refusal(Reason.CALL_NOT_FOUND, f"There is no call {call_id[:80]!r}.")
    refuse_without_token(connection, call_id, record, token)
    if calls.accept(connection, call_id, operation_id=operation_id, state=state):
        return
    job, now = jobs.lock_job(connection, record.job_id)
    # A failed job's result can be fetched after all, so that its retry may need no consent.
    final = [job] if job is not None and job.is_final else []
    before = job_writer.snapshots(connection, final)
    calls.name_operation(connection, call_id, operation_id=operation_id, state=state)
    reports = [ledger.LateReport(job=job) for job in final]
    job_writer.write(connection, ledger.visible_changes(connection, reports, before, (), now=now))


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


def _held(connection: Connection, fence: Fence) -> tuple[Job, datetime]:
    """Locks the job of a claim; returns it and the current time. Raises `Refusal` LEASE_LOST."""
    job, now = jobs.lock_job(connection, fence.job_id)
    return new_calls.require_held(job, fence), now


def _provider(connection: Connection, name: str) -> Provider:
    provider = providers.catalogue(connection).get(name)
    if provider is None:
        raise new_calls.no_provider(name)
    return provider
