"""The ledger of one job in memory: job-service's own rules, without its database.

`services.job.domain` makes all decisions; `tests/integration/job/test_ledger_in_memory.py` compares it with the ledger
in PostgreSQL. Every caller is assumed to hold the job.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from calotype.error_reasons import Reason

from services.job.domain import calls
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall, WorkerReport
from services.job.domain.jobs import Job
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.request_validation import lost_options


@dataclass
class MemoryLedger:
    """The catalogue by name, calls by id, oldest first, and indexes of staged images."""

    catalogue: dict[str, Provider] = field(default_factory=dict)
    calls: dict[str, ProviderCall] = field(default_factory=dict)
    staged: set[int] = field(default_factory=set)

    def settle(self, job: Job, report: WorkerReport) -> None:
        """Applies what a worker of the job's claim knows."""
        for outcome in report.calls:
            self._settle(outcome, job.claim_number)
        self.staged |= {
            image.image_index for image in report.images if image.call_id in self.calls and job.wants(image)
        }

    def begin(
        self, job: Job, *, call_id: str, provider: str, model: str, indexes: Collection[int], report: WorkerReport
    ) -> ProviderCall:
        """Write a call down. Raises `Refusal`, and then has learned nothing."""
        if (existing := self.calls.get(call_id)) is not None:
            if existing.claim_number != job.claim_number:
                raise Refusal(Reason.INVALID_INPUT, "call_id: names another call.")
            return existing
        updated = self._after(job, report)
        able = self._provider(provider)
        if provider not in (job.provider, *job.fallback):
            raise Refusal(Reason.INVALID_INPUT, f"provider: job {job.id} does not name {provider}.")
        if job.request is not None and lost_options(job.request, able.as_model(model).capabilities):
            raise Refusal(Reason.UNSUPPORTED, f"{provider} would lose a field of the job {job.id}.")
        consent, _ = calls.check_purchase(
            job, indexes=indexes, calls=list(updated.calls.values()), staged=updated.staged
        )
        call = ProviderCall(
            id=call_id,
            job_id=job.id,
            claim_number=job.claim_number,
            provider=provider,
            model=model,
            phase=CallPhase.INTENDED,
            image_indexes=tuple(sorted(set(indexes))),
            idempotency_key=call_id,
            request_digest="",
            consent=consent,
            timeout_seconds=able.timeout_seconds,
            resumable=able.capabilities.resumable,
            # Not before the user's consent, if there is one: that moved the job.
            created_at=job.updated_at,
        )
        self.calls, self.staged = updated.calls | {call_id: call}, updated.staged
        return call

    def resend(self, job: Job, call_id: str, report: WorkerReport) -> ProviderCall:
        """Allow a call to be sent again. Raises `Refusal`, and then has learned nothing."""
        updated = self._after(job, report)
        call = updated.get(call_id)
        able = self._provider(call.provider).capabilities
        if call.phase is not CallPhase.INTENDED or not (able.free or able.idempotent):
            raise Refusal(Reason.ALREADY_BOUGHT, f"Call {call.id} is {call.phase} and may not be sent again.")
        again = replace(call, claim_number=job.claim_number)
        self.calls, self.staged = updated.calls | {call_id: again}, updated.staged
        return again

    def follow(self, job: Job, call_id: str, report: WorkerReport) -> ProviderCall:
        """Allow an operation to be followed. Raises `Refusal`, and then has learned nothing."""
        updated = self._after(job, report)
        call = updated.get(call_id)
        if call.operation_id is None:
            raise Refusal(Reason.CALL_NOT_FOUND, f"Call {call.id} has no operation to follow.")
        self.calls, self.staged = updated.calls, updated.staged
        return call

    def accept(self, call_id: str, operation_id: str) -> None:
        """A provider named an operation. Raises `Refusal`."""
        call = self.get(call_id)
        if call.phase is CallPhase.INTENDED:
            self.calls[call_id] = replace(call, phase=CallPhase.ACCEPTED, operation_id=operation_id)
        elif call.operation_id is None:
            self.calls[call_id] = replace(call, operation_id=operation_id)

    def add(self, earlier: Iterable[ProviderCall]) -> None:
        """What earlier claims left."""
        for call in earlier:
            self.calls.setdefault(call.id, call)

    def get(self, call_id: str) -> ProviderCall:
        """A call. Raises `Refusal` CALL_NOT_FOUND."""
        if call_id not in self.calls:
            raise Refusal(Reason.CALL_NOT_FOUND, f"There is no call {call_id!r}.")
        return self.calls[call_id]

    def _after(self, job: Job, known: WorkerReport) -> "MemoryLedger":
        updated = MemoryLedger(calls=dict(self.calls), staged=set(self.staged))
        updated.settle(job, known)
        return updated

    def _provider(self, name: str) -> Provider:
        if name not in self.catalogue:
            raise Refusal(Reason.PROVIDER_NOT_FOUND, f"No generator has registered a provider {name!r}.")
        return self.catalogue[name]

    def _settle(self, outcome: CallOutcome, claim_number: int) -> None:
        call = self.calls.get(outcome.call_id)
        if call is None or (outcome.phase is CallPhase.NOT_SENT and call.claim_number != claim_number):
            return
        if calls.accepts_outcome(call.phase, outcome.phase):
            self.calls[call.id] = replace(
                call, phase=outcome.phase, operation_id=outcome.operation_id or call.operation_id
            )
