"""The ledger in memory, on which the generator is tested, decides as the one in PostgreSQL does."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.job.application import buying, releasing
from services.job.domain.calls import CallOutcome, Known, Phase, ProviderCall
from services.job.domain.failures import Refusal
from services.job.domain.jobs import Job
from services.job.domain.requests import OnAmbiguous
from services.job.domain.states import State
from tests.support.jobs import FREE, PAID, JobDesk, failed, fence_of, image_of, purchase_of
from tests.support.ledger import MemoryLedger
from tests.support.rehearsing import rehearsal

PICK = st.integers(0, 31)
INDEXES = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
ENDS = st.sampled_from([phase for phase in Phase if phase not in (Phase.INTENDED, Phase.ACCEPTED)])
#: What is known: of a call (picked) its end and perhaps its operation; of an image its index and its call (picked).
OUTCOMES = st.lists(st.tuples(PICK, ENDS, st.booleans()), max_size=2)
IMAGES = st.lists(st.tuples(PICK, st.integers(0, 3)), max_size=1)
Word = tuple[Sequence[tuple[int, Phase, bool]], Sequence[tuple[int, int]]]
KNOWN = st.one_of(st.just(((), ())), st.tuples(OUTCOMES, IMAGES))


class BothLedgers(RuleBasedStateMachine):
    """A job's worker asks and tells the same at both."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self._ending = ExitStack()
        self.desk: JobDesk = self._ending.enter_context(rehearsal(self.url))

    def teardown(self) -> None:
        """Nothing is left."""
        self._ending.close()

    @initialize(
        count=st.integers(1, 3),
        provider=st.sampled_from(["procedural", "paid"]),
        fallback=st.booleans(),
        on_ambiguous=st.sampled_from(OnAmbiguous),
    )
    def submit(self, count: int, provider: str, fallback: bool, on_ambiguous: OnAmbiguous) -> None:
        """A job in a generator's hands."""
        others = {"procedural", "paid"} - {provider}
        seen = self.desk.create(
            n=count, provider=provider, fallback=tuple(others) if fallback else (), on_ambiguous=on_ambiguous
        )
        self.id = seen.job.id
        self.memory = MemoryLedger(catalogue={one.name: one for one in (FREE, PAID)})
        self._claim()

    @rule(
        again=st.none() | PICK,
        provider=st.sampled_from(["procedural", "paid", "nowhere"]),
        indexes=INDEXES,
        word=KNOWN,
    )
    def begin(self, again: int | None, provider: str, indexes: tuple[int, ...], word: Word) -> None:
        """A call is to be written down, perhaps under an id that was used before."""
        job, known = self.job, self._known(word)
        call_id = f"call_{uuid4().hex}" if again is None else self._pick(again)
        purchase = replace(purchase_of(job, *indexes, provider=provider), call_id=call_id, known=known)
        self._compare(
            lambda: self.desk.run(lambda c: buying.begin_provider_call(c, purchase)).call,
            lambda: self.memory.begin(
                job, call_id=call_id, provider=provider, model=purchase.model, indexes=indexes, known=known
            ),
        )

    @rule(pick=PICK, word=KNOWN)
    def resend(self, pick: int, word: Word) -> None:
        """A call is to be sent again."""
        job, known, call_id = self.job, self._known(word), self._pick(pick)
        self._compare(
            lambda: self.desk.run(lambda c: buying.resend_provider_call(c, fence_of(job), call_id, known)).call,
            lambda: self.memory.resend(job, call_id, known),
        )

    @rule(pick=PICK, word=KNOWN)
    def follow(self, pick: int, word: Word) -> None:
        """An operation is to be followed."""
        job, known, call_id = self.job, self._known(word), self._pick(pick)
        self._compare(
            lambda: self.desk.run(lambda c: buying.follow_provider_call(c, fence_of(job), call_id, known)).call,
            lambda: self.memory.follow(job, call_id, known),
        )

    @rule(pick=PICK, name=st.sampled_from(["op-1", "op-2"]))
    def accept(self, pick: int, name: str) -> None:
        """A provider named an operation."""
        call_id = self._pick(pick)
        self._compare(
            lambda: self.desk.run(lambda c: buying.record_operation(c, call_id, operation_id=name, state={})),
            lambda: self.memory.accept(call_id, name),
        )

    @rule(word=KNOWN)
    def hand_back_and_claim(self, word: Word) -> None:
        """The claim ends with what is known, and the next one begins."""
        job, known = self.job, self._known(word)
        self.desk.run(lambda c: releasing.release_job(c, fence_of(job), known))
        self.memory.settle(job, known)
        self._claim()

    @rule(consents=st.booleans())
    def fail_and_retry(self, consents: bool) -> None:
        """The user wants a failed job tried again."""
        if self.memory.staged:
            # What is staged goes on to an uploader.
            return
        self.desk.fold(failed(self.job, retryable=False))
        try:
            self.desk.retry(self.id, consents=consents)
        except Refusal as refusal:
            assert (refusal.reason, consents) == ("CONSENT_REQUIRED", False)
            self.desk.retry(self.id, consents=True)
        self._claim()

    @property
    def job(self) -> Job:
        """The job as its worker has it."""
        return self.desk.job(self.id)

    @invariant()
    def both_know_the_same(self) -> None:
        """The same calls in the same phases, and the same images."""
        really = self.desk.sql("SELECT * FROM provider_calls")
        assert {row.id: _core(row) for row in really} == {call.id: _core(call) for call in self.memory.calls.values()}
        assert {row.image_index for row in self.desk.sql("SELECT * FROM artifacts")} == self.memory.staged

    def _claim(self) -> None:
        self.desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
        [claimed] = self.desk.claim()
        assert claimed.job.state is State.PROCESSING

    def _pick(self, pick: int) -> str:
        """A call of the job, or one that nobody knows."""
        known = [*self.memory.calls, f"call_{0:032x}"]
        return known[pick % len(known)]

    def _known(self, word: Word) -> Known:
        outcomes, images = word
        calls = {self._pick(pick): (end, names) for pick, end, names in outcomes}
        return Known(
            calls=tuple(
                CallOutcome(call_id=call_id, phase=end, operation_id="op-3" if names else None)
                for call_id, (end, names) in calls.items()
            ),
            images=tuple(
                image_of(self.job, self.memory.calls[call_id], index)
                for pick, index in images
                if (call_id := self._pick(pick)) in self.memory.calls
            ),
        )

    def _compare(self, real: Callable[[], Any], memory: Callable[[], Any]) -> None:
        assert _answer(memory) == _answer(real)


def _answer(ask: Callable[[], ProviderCall | None]) -> Any:
    """What came of it: a call, or the reason why not."""
    try:
        call = ask()
    except Refusal as refusal:
        return refusal.reason
    return None if call is None else _core(call)


def _core(call: Any) -> tuple[Any, ...]:
    """What both ledgers keep of a call."""
    return (
        call.id,
        call.claim_number,
        call.provider,
        str(call.phase),
        tuple(call.image_indexes),
        str(call.consent),
        call.operation_id,
        bool(call.resumable),
    )


def test_both_ledgers_answer_alike(database_url: str) -> None:
    machine = type("Machine", (BothLedgers,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            database=None,
            phases=[Part.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
