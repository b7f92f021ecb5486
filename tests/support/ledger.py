"""The ledger of one job in memory: job-service's own rules, without its database.

Whatever it decides is decided by `services.job.domain`; `tests/integration/job/test_ledger_in_memory.py` holds it
against the ledger in PostgreSQL.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from services.job.domain import calls
from services.job.domain.calls import CallOutcome, Known, Phase, ProviderCall
from services.job.domain.failures import Refusal
from services.job.domain.jobs import Job

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MemoryLedger:
    """Calls by id, oldest first, and indexes of staged images."""

    calls: dict[str, ProviderCall] = field(default_factory=dict)
    staged: set[int] = field(default_factory=set)

    def settle(self, known: Known, *, claim_number: int) -> None:
        """Take what a worker of a claim knows."""
        for outcome in known.calls:
            self._settle(outcome, claim_number)
        self.staged |= {image.image_index for image in known.images if image.call_id in self.calls}

    def begin(
        self,
        job: Job,
        *,
        call_id: str,
        provider: str,
        model: str,
        indexes: Collection[int],
        known: Known,
        resumable: bool = False,
    ) -> ProviderCall:
        """Write a call down. Raises `Refusal`, and then has learned nothing."""
        if call_id in self.calls:
            return self.calls[call_id]
        learned = MemoryLedger(calls=dict(self.calls), staged=set(self.staged))
        learned.settle(known, claim_number=job.claim_number)
        consent, _ = calls.check_purchase(
            job, indexes=indexes, calls=list(learned.calls.values()), staged=learned.staged
        )
        self.calls, self.staged = learned.calls, learned.staged
        self.calls[call_id] = ProviderCall(
            id=call_id,
            job_id=job.id,
            claim_number=job.claim_number,
            provider=provider,
            model=model,
            phase=Phase.INTENDED,
            image_indexes=tuple(sorted(set(indexes))),
            idempotency_key=call_id,
            request_digest="",
            consent=consent,
            timeout_seconds=60,
            resumable=resumable,
            created_at=START + timedelta(seconds=len(self.calls)),
        )
        return self.calls[call_id]

    def add(self, earlier: Iterable[ProviderCall]) -> None:
        """What earlier claims left."""
        for call in earlier:
            self.calls.setdefault(call.id, call)

    def accept(self, call_id: str, operation_id: str) -> None:
        """A provider named an operation."""
        call = self.calls[call_id]
        phase = Phase.ACCEPTED if call.phase is Phase.INTENDED else call.phase
        self.calls[call_id] = replace(call, phase=phase, operation_id=call.operation_id or operation_id)

    def get(self, call_id: str) -> ProviderCall:
        """A call. Raises `Refusal` CALL_NOT_FOUND."""
        if call_id not in self.calls:
            raise Refusal("CALL_NOT_FOUND", f"There is no call {call_id!r}.")
        return self.calls[call_id]

    def _settle(self, outcome: CallOutcome, claim_number: int) -> None:
        call = self.calls.get(outcome.call_id)
        if call is None or (outcome.phase is Phase.NOT_SENT and call.claim_number != claim_number):
            return
        if calls.takes(call.phase, outcome.phase):
            self.calls[call.id] = replace(
                call, phase=outcome.phase, operation_id=outcome.operation_id or call.operation_id
            )
