"""The ledger in memory, on which the generator is tested, decides as the one in PostgreSQL does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st

from services.job.application import claim_release, provider_calls
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall, WorkerReport
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous
from tests.support.generator.memory_ledger import MemoryLedger
from tests.support.job_service.rolled_back_use_cases import rehearsal
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, fence_of, image_of, purchase_of

OTHER = {"procedural": "paid", "paid": "procedural"}
NOBODYS = f"call_{0:032x}"
PICK = st.integers(0, 31)
ENDS = st.sampled_from([phase for phase in CallPhase if phase not in (CallPhase.INTENDED, CallPhase.ACCEPTED)])


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a worker or a user does next; whatever is numbered is one of those that there are."""

    kind: str
    call: int
    #: Most indexes are the job's own; 3 is no job's.
    indexes: Sequence[int]
    whose: str
    operation: str
    consents: bool
    #: What is known: of a call its end and perhaps its operation; of an image its call and its index.
    ends: Sequence[tuple[int, CallPhase, bool]]
    images: Sequence[tuple[int, int]]


STEPS = st.builds(
    Step,
    kind=st.sampled_from(["begin"] * 4 + ["again", "resend", "resend", "follow", "accept", "hand back", "retry"]),
    call=PICK,
    indexes=st.lists(st.sampled_from([0, 0, 1, 1, 2, 2, 3]), min_size=1, max_size=2),
    whose=st.sampled_from(["own", "own", "own", "other", "nowhere"]),
    operation=st.sampled_from(["op-1", "op-2"]),
    consents=st.booleans(),
    ends=st.lists(st.tuples(PICK, ENDS, st.booleans()), max_size=2),
    images=st.one_of(st.just([]), st.just([]), st.lists(st.tuples(PICK, st.integers(0, 3)), max_size=1)),
)


@dataclass(kw_only=True)
class Both:
    """One job, whose workers ask and tell the same at both ledgers."""

    desk: JobUseCases
    id: str
    memory: MemoryLedger = field(
        default_factory=lambda: MemoryLedger(catalogue={one.name: one for one in (FREE, PAID)})
    )

    @property
    def job(self) -> Job:
        """The job as its worker has it."""
        return self.desk.job(self.id)

    def claim(self) -> None:
        """The next worker takes the job."""
        self.desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
        [_] = self.desk.claim()

    def take(self, step: Step) -> None:
        """Do it at both, and compare."""
        report = self._known(step)
        match step.kind:
            case "begin" | "again":
                call_id = self._call(step.call) if step.kind == "again" else f"call_{uuid4().hex}"
                self._begin(step, call_id, report)
            case "resend":
                self._ask(provider_calls.resend_provider_call, self.memory.resend, self._call(step.call), report)
            case "follow":
                self._ask(provider_calls.follow_provider_call, self.memory.follow, self._call(step.call), report)
            case "accept":
                call_id, name = self._call(step.call), step.operation
                compare(
                    lambda: self.desk.run(
                        lambda c: provider_calls.record_operation(c, call_id, operation_id=name, state={})
                    ),
                    lambda: self.memory.accept(call_id, name),
                )
            case "hand back":
                job = self.job
                self.desk.run(lambda c: claim_release.release_job(c, fence_of(job), report))
                self.memory.settle(job, report)
                self.claim()
            case "retry" if not self.memory.staged:
                # With images it would go on to an uploader.
                self._retry(consents=step.consents)
        self.check()

    def check(self) -> None:
        """Both have the same calls in the same phases, and the same images."""
        really = self.desk.sql("SELECT * FROM provider_calls")
        assert {row.id: core(row) for row in really} == {call.id: core(call) for call in self.memory.calls.values()}
        assert {row.image_index for row in self.desk.sql("SELECT * FROM artifacts")} == self.memory.staged

    def _begin(self, step: Step, call_id: str, report: WorkerReport) -> None:
        job = self.job
        provider = {"own": job.provider, "other": OTHER[job.provider]}.get(step.whose, step.whose)
        indexes = [index if index == 3 else index % job.image_count for index in step.indexes]
        purchase = replace(purchase_of(job, *indexes, provider=provider), call_id=call_id, report=report)
        compare(
            lambda: self.desk.run(lambda c: provider_calls.begin_provider_call(c, purchase)).call,
            lambda: self.memory.begin(
                job, call_id=call_id, provider=provider, model=purchase.model, indexes=indexes, report=report
            ),
        )

    def _ask(
        self, real: Any, memory: Callable[[Job, str, WorkerReport], ProviderCall], call_id: str, report: WorkerReport
    ) -> None:
        job = self.job
        compare(
            lambda: self.desk.run(lambda c: real(c, fence_of(job), call_id, report)).call,
            lambda: memory(job, call_id, report),
        )

    def _retry(self, *, consents: bool) -> None:
        self.desk.apply(failed(self.job, retryable=False))
        try:
            self.desk.retry(self.id, consents=consents)
        except Refusal as refusal:
            assert (refusal.reason, consents) == ("CONSENT_REQUIRED", False)
            self.desk.retry(self.id, consents=True)
        self.claim()

    def _call(self, number: int) -> str:
        """One of the job's calls, the newest more often than others; seldom one that nobody knows."""
        calls = [*self.memory.calls]
        return NOBODYS if not calls or number == 0 else calls[-1 - (number % len(calls)) * (number % 2)]

    def _known(self, step: Step) -> WorkerReport:
        ends = {self._call(number): (phase, names) for number, phase, names in step.ends}
        images = [(self._call(number), index) for number, index in step.images]
        return WorkerReport(
            calls=tuple(
                CallOutcome(call_id=call_id, phase=phase, operation_id="op-3" if names else None)
                for call_id, (phase, names) in ends.items()
            ),
            images=tuple(
                image_of(self.job, self.memory.calls[call_id], index)
                for call_id, index in images
                if call_id in self.memory.calls
            ),
        )


def compare(real: Callable[[], ProviderCall | None], memory: Callable[[], ProviderCall | None]) -> None:
    """Both give the same call, or refuse for the same reason."""
    assert answer(memory) == answer(real)


def answer(ask: Callable[[], ProviderCall | None]) -> Any:
    """What came of it: a call, or the reason why not."""
    try:
        call = ask()
    except Refusal as refusal:
        return refusal.reason
    return None if call is None else core(call)


def core(call: Any) -> tuple[Any, ...]:
    """What both ledgers keep of a call."""
    texts = (call.id, call.provider, str(call.phase), str(call.consent), call.operation_id)
    return (*texts, call.claim_number, tuple(call.image_indexes), bool(call.resumable))


@settings(
    max_examples=15,
    database=None,
    # Shrinking would take minutes on a real database; the steps can be read as they are.
    phases=[Part.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    count=st.integers(1, 3),
    provider=st.sampled_from(["procedural", "paid"]),
    fallback=st.booleans(),
    on_ambiguous=st.sampled_from(OnAmbiguous),
    steps=st.lists(STEPS, min_size=20, max_size=30),
)
def test_both_ledgers_answer_alike(
    database_url: str, count: int, provider: str, fallback: bool, on_ambiguous: OnAmbiguous, steps: list[Step]
) -> None:
    with rehearsal(database_url) as desk:
        others = (OTHER[provider],) if fallback else ()
        seen = desk.create(n=count, provider=provider, fallback=others, on_ambiguous=on_ambiguous)
        both = Both(desk=desk, id=seen.job.id)
        both.claim()
        for step in steps:
            both.take(step)
