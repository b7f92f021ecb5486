"""Whatever is asked and told, in whatever order, late and twice, with time passing and stepping: the rules hold."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any
from uuid import uuid4

import pytest
from calotype.error_reasons import Code, Reason
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from services.job.application import claim_release, fact_checks, new_calls, provider_calls, stale_jobs
from services.job.application.fact_checks import RefusedFact
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall, WorkerReport
from services.job.domain.facts import (
    CallAccepted,
    CallSettled,
    ImagesGenerated,
    ImagesStored,
    JobFact,
    LedgerSettled,
    StageFailed,
)
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Artifact, Job, ProviderCancel
from services.job.domain.proofs import FactMessage, Proof
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous
from services.job.domain.states import State
from services.job.loops import purger
from services.job.store import settlements
from tests.support.job_service.invariants import Seen, broken, followed, forgotten, ledger
from tests.support.job_service.rolled_back_use_cases import rehearsal
from tests.support.job_service.use_cases import JobUseCases, fence_of, image_of, purchase_of, stored

PICK = st.integers(0, 2**16)
ENDS = st.sampled_from([phase for phase in CallPhase if phase not in (CallPhase.INTENDED, CallPhase.ACCEPTED)])
#: What a worker knows: ends of calls (picked), with or without operation and cost; images (picked call and index).
WORD = st.tuples(
    st.lists(st.tuples(PICK, ENDS, st.booleans()), max_size=2),
    st.lists(st.tuples(PICK, st.integers(0, 2)), max_size=2),
)
Word = tuple[Sequence[tuple[int, CallPhase, bool]], Sequence[tuple[int, int]]]
MINUTE, HOUR = 60.0, 3600.0
REFUSALS = {
    "begin": {"LEASE_LOST", "ALREADY_BOUGHT", "CONSENT_REQUIRED", "INVALID_INPUT"},
    "again": {"LEASE_LOST", "ALREADY_BOUGHT", "CALL_NOT_FOUND"},
    "user": {"WRONG_STATE", "CONSENT_REQUIRED", "JOB_NOT_FOUND"},
}
TIMES = """
SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables
    USING (table_schema, table_name)
WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND is_generated = 'NEVER'
    AND data_type = 'timestamp with time zone'
"""


class JobMachine(RuleBasedStateMachine):
    """Users, workers, late workers, crashes, time and the monitor, all at one database."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self._ending = ExitStack()
        self.desk: JobUseCases = self._ending.enter_context(rehearsal(self.url))
        self.seen = Seen()
        # Jobs as workers saw them when they claimed: some of these rights are no longer good.
        self.held: list[Job] = []
        self.calls: list[ProviderCall] = []
        self.tokens: dict[str, bytes] = {}
        self.told: list[JobFact] = []
        self.submit(2, "paid", True, OnAmbiguous.FAIL, 600)
        self.claim()

    def teardown(self) -> None:
        """Nothing is left."""
        self._ending.close()

    @rule(
        count=st.integers(1, 3),
        provider=st.sampled_from(["procedural", "paid", "paid"]),
        fallback=st.booleans(),
        on_ambiguous=st.sampled_from(OnAmbiguous),
        within=st.none() | st.sampled_from([60, 600]),
    )
    def submit(self, count: int, provider: str, fallback: bool, on_ambiguous: OnAmbiguous, within: int | None) -> None:
        """A client submits."""
        others = tuple({"paid", "procedural"} - {provider}) if fallback else ()
        self.desk.create(
            n=count,
            provider=provider,
            fallback=others,
            on_ambiguous=on_ambiguous,
            finish_within_seconds=within,
        )

    @rule()
    def claim(self) -> None:
        """Generators claim what there is."""
        self.desk.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE state IN ('queued', 'uploading')")
        self.held += [one.job for one in self.desk.claim(4)]

    @rule()
    def claim_uploads(self) -> None:
        """Uploaders claim what there is."""
        self.held += [one.job for one in self.desk.claim_uploads(4)]

    @rule(pick=PICK, indexes=st.lists(st.integers(0, 2), min_size=1, max_size=2), own=st.booleans(), word=WORD)
    def begin(self, pick: int, indexes: list[int], own: bool, word: Word) -> None:
        """A generator, perhaps a late one, wants to buy."""
        if job := self._one(self.held, pick):
            provider = job.provider if own or not job.fallback else job.fallback[0]
            wanted = [index % job.image_count for index in indexes]
            report = self._known(job, word)
            purchase = replace(purchase_of(job, *wanted, provider=provider), report=report, shows_tokens=True)
            self._ask("begin", lambda: self.desk.run(lambda c: provider_calls.begin_provider_call(c, purchase)))

    @rule(pick=PICK, call=PICK, follows=st.booleans(), word=WORD)
    def resend_or_follow(self, pick: int, call: int, follows: bool, word: Word) -> None:
        """A generator, perhaps a late one, goes on with what an earlier claim began."""
        if (job := self._one(self.held, pick)) and (earlier := self._one(self._of(job), call)):
            ask, report = (
                provider_calls.follow_provider_call if follows else provider_calls.resend_provider_call,
                self._known(job, word),
            )
            again = partial(ask, fence=fence_of(job), call_id=earlier.id, report=report, shows_tokens=True)
            self._ask("again", lambda: self.desk.run(again))

    @rule(call=PICK, as_fact=st.booleans())
    def accept(self, call: int, as_fact: bool) -> None:
        """A provider has named an operation."""
        if one := self._one(self.calls, call):
            name, token = f"op-{one.id}", self.tokens[one.id]
            if as_fact:
                proof = Proof(tokens={one.id: token})
                self._tell(CallAccepted(job_id=one.job_id, call_id=one.id, operation_id=name), proof=proof)
            else:
                self.desk.run(
                    lambda c: provider_calls.record_operation(c, one.id, operation_id=name, state={}, token=token)
                )

    @rule(pick=PICK, word=WORD)
    def tell_generated(self, pick: int, word: Word) -> None:
        """A generator states success."""
        if job := self._one(self.held, pick):
            report = self._known(job, word)
            self._tell(ImagesGenerated(fence=fence_of(job), calls=report.calls, images=report.images), teller=job)

    @rule(pick=PICK, word=WORD, code=st.sampled_from(Code), retryable=st.booleans(), deferred=st.booleans())
    def tell_failed(self, pick: int, word: Word, code: Code, retryable: bool, deferred: bool) -> None:
        """A worker states failure."""
        if job := self._one(self.held, pick):
            uploads = job.state is State.UPLOADING
            report = WorkerReport() if uploads else self._known(job, word)
            failure = Failure(
                stage=Stage.UPLOADING if uploads else Stage.GENERATING,
                code=code,
                reason=Reason.PROVIDER_UNAVAILABLE,
                message="It was away.",
                retryable=retryable,
            )
            self._tell(
                StageFailed(
                    fence=fence_of(job),
                    failure=failure,
                    calls=report.calls,
                    images=report.images,
                    deferred=deferred and not uploads,
                ),
                teller=job,
            )

    @rule(pick=PICK, all_of_them=st.booleans())
    def tell_stored(self, pick: int, all_of_them: bool) -> None:
        """An uploader, or somebody who takes himself for one, states success."""
        if job := self._one(self.held, pick):
            names = stored(job).names if all_of_them else {0: stored(job).names[0]}
            self._tell(ImagesStored(fence=fence_of(job), names=names), teller=job)

    @rule(pick=PICK, word=WORD)
    def tell_ledger(self, pick: int, word: Word) -> None:
        """A worker without a lease tells what it knows."""
        if job := self._one(self.held, pick):
            report = self._known(job, word)
            told = LedgerSettled(job_id=job.id, calls=report.calls, images=report.images)
            self._tell(told, proof=Proof(fence=fence_of(job)), knows=job)

    @rule(pick=PICK, end=ENDS, wish=st.sampled_from(list(ProviderCancel)[2:]))
    def settle(self, pick: int, end: CallPhase, wish: ProviderCancel) -> None:
        """Somebody follows an open call of a final job to its end."""
        for one in self._to_settle():
            outcome = self._outcome(one.call, end, costs=bool(pick % 2))
            self._tell(
                CallSettled(job_id=one.call.job_id, outcome=outcome, provider_cancel=wish if one.cancel else None),
                proof=Proof(settlement=one.token),
            )

    @rule(answer=st.sampled_from(list(ProviderCancel)[2:]))
    def look(self, answer: ProviderCancel) -> None:
        """Somebody looks at an open call of a final job, and it has not ended."""
        for one in self._to_settle():
            said = answer if one.cancel else None
            assert self.desk.run(
                lambda c, one=one, said=said: settlements.postpone(c, one.token, cancel_outcome=said, pause=1)
            )

    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def tell_again(self, picks: list[int]) -> None:
        """Old facts come again, in any order, in one batch."""
        if self.told:
            self.desk.apply(*(self.told[pick % len(self.told)] for pick in picks))

    @rule(pick=PICK, word=WORD)
    def release(self, pick: int, word: Word) -> None:
        """A worker hands a job back, perhaps late."""
        if job := self._one(self.held, pick):
            report = self._known(job, word)
            with self._only_its_holder_moves(job):
                self.desk.run(lambda c: claim_release.release_job(c, fence_of(job), report))

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """A user cancels."""
        if job := self._one(self.held, pick):
            self._ask("user", lambda: self.desk.cancel(job.id))

    @rule(pick=PICK, consents=st.booleans())
    def retry(self, pick: int, consents: bool) -> None:
        """A user retries."""
        failed = [row.id for row in self.desk.sql("SELECT id FROM jobs WHERE state = 'failed' ORDER BY id")]
        if job_id := self._one(failed, pick):
            answer = self._ask("user", lambda: self.desk.retry(job_id, consents=consents))
            self.seen.consents[job_id] += consents and answer is not None

    @rule(pick=PICK, consents=st.booleans())
    def lose_an_answer_and_try_again(self, pick: int, consents: bool) -> None:
        """A paid answer is lost, the job fails, and its user wants it once more."""
        if (job := self._one(self.held, pick)) and job.state is State.PROCESSING:
            self.begin(pick, [0, 1], True, ([], []))
            self.tell_failed(pick, ([(1, CallPhase.UNKNOWN, False)], []), Code.TIMEOUT, False, False)
            self.retry(1, consents)
            self.claim()

    @rule(seconds=st.sampled_from([45.0, 12 * MINUTE]))
    def die_with_a_call(self, seconds: float) -> None:
        """A generator dies while a call is out, and some time passes before anybody goes on."""
        self.claim()
        if (job := self._one(self.held, 1)) and job.state is State.PROCESSING:
            self.begin(1, [0], True, ([], []))
            self.time_passes(45.0)
            self.time_passes(seconds)

    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        """A user deletes."""
        if pick % 4 == 0 and (job := self._one(self.held, pick)):
            self._ask("user", lambda: self.desk.delete(job.id))

    @rule(held=st.booleans())
    def give_up_calls(self, held: bool) -> None:
        """What nobody told within its day is given up, unless somebody is just looking at it."""
        if held:
            self._to_settle()
        before, lost = ledger(self.desk), forgotten(self.desk)
        self.desk.run(lambda c: purger.settle_abandoned_calls(c, limits=self.desk.limits, limit=purger.BATCH))
        # No other call ends by that, and no job moves.
        assert ledger(self.desk) == before | {call: (CallPhase.UNKNOWN, before[call][1]) for call in lost}

    @rule(pick=PICK, cancels=st.booleans(), held=st.booleans())
    def leave_a_call_to_nobody(self, pick: int, cancels: bool, held: bool) -> None:
        """A job ends with a call open, and nobody tells what became of it for more than a day."""
        self.claim()
        if (job := self._one(self.held, 1)) and job.state is State.PROCESSING:
            self.begin(1, [0], True, ([], []))
            self.accept(pick, False)
            if cancels:
                self.cancel(1)
            else:
                self.tell_failed(1, ([], []), Code.PERMANENT, False, False)
            self.time_passes(25 * HOUR)
            self.give_up_calls(held)

    @rule(seconds=st.sampled_from([1.0, 20.0, 45.0, 2 * MINUTE, 12 * MINUTE, HOUR, 25 * HOUR, -HOUR]))
    def time_passes(self, seconds: float) -> None:
        """Time passes, or the clock is set back; then the monitor looks, perhaps at what has moved meanwhile."""
        for table, columns in groupby(sorted(self.desk.sql(TIMES)), key=lambda row: row.table_name):
            shifts = ", ".join(f"{one.column_name} = {one.column_name} - make_interval(secs => :s)" for one in columns)
            self.desk.sql(f"UPDATE {table} SET {shifts}", s=seconds)
        # Generators say all the time what they offer.
        self.desk.register()
        limits = self.desk.limits
        waiting = followed(self.desk, max_queued_seconds=limits.max_queued_seconds)
        noted = self.desk.run(lambda c: stale_jobs.candidates(c, limits))
        self.desk.run(lambda c: stale_jobs.rescue(c, noted, limits=limits))
        # What was paid for and goes on is waited for, whatever the deadline.
        assert waiting <= followed(self.desk, max_queued_seconds=limits.max_queued_seconds)

    @invariant()
    def the_rules_hold(self) -> None:
        """All of them."""
        assert broken(self.desk, self.seen) == []

    def _one(self, things: Sequence[Any], pick: int) -> Any:
        """One of several, newer ones more often."""
        return things[-1 - (pick // 2) % len(things) * (pick % 2)] if things else None

    def _of(self, job: Job) -> list[ProviderCall]:
        return [call for call in self.calls if call.job_id == job.id]

    def _outcome(self, call: ProviderCall, end: CallPhase, *, costs: bool) -> CallOutcome:
        return CallOutcome(call_id=call.id, phase=end, cost_micros=40_000 if costs else None)

    def _known(self, job: Job, word: Word) -> WorkerReport:
        ends, images = word
        calls = {call.id: (call, end, costs) for pick, end, costs in ends if (call := self._one(self._of(job), pick))}
        found: list[Artifact] = [
            image_of(job, call, index) for pick, index in images if (call := self._one(self._of(job), pick))
        ]
        return WorkerReport(
            calls=tuple(self._outcome(call, end, costs=costs) for call, end, costs in calls.values()),
            images=tuple(found),
        )

    def _to_settle(self) -> list[settlements.Settlement]:
        providers = ["paid", "procedural"]
        return self.desk.run(
            lambda c: settlements.claim(c, worker="w", tokens=[uuid4()], providers=providers, seconds=30)
        )

    def _tell(
        self, fact: JobFact, *, teller: Job | None = None, proof: Proof | None = None, knows: Job | None = None
    ) -> None:
        """By whoever holds a job, or shows something else; `knows` is the claim by which he knows of calls."""
        knows = knows or teller
        shown = proof or Proof(fence=fence_of(teller) if teller else None)
        [admitted] = self.desk.run(lambda c: fact_checks.admit(c, [FactMessage(fact=fact, proof=shown)]))
        if isinstance(admitted, RefusedFact):
            # Nobody tells of calls that a later claim began; here somebody does.
            assert knows is not None, admitted
            assert knows.state is State.UPLOADING or self._began_later(knows), admitted
            return
        self.told.append(admitted)
        with self._only_its_holder_moves(teller):
            self.desk.apply(admitted)

    def _began_later(self, job: Job) -> bool:
        later = "SELECT 1 FROM provider_calls WHERE job_id = :id AND claim_number > :claim"
        return bool(self.desk.sql(later, id=job.id, claim=job.claim_number))

    @contextmanager
    def _only_its_holder_moves(self, teller: Job | None) -> Iterator[None]:
        before = self.desk.job(teller.id) if teller else None
        yield
        if teller and before and not before.is_held_by(fence_of(teller)):
            after = self.desk.job(teller.id)
            assert (after.state, after.claim_number, after.lease) == (before.state, before.claim_number, before.lease)

    def _ask(self, what: str, ask: Callable[[], Any]) -> Any:
        try:
            answer = ask()
        except Refusal as refusal:
            assert refusal.reason in REFUSALS[what], refusal
            return None
        if isinstance(answer, new_calls.BegunCall) and answer.call.id not in self.tokens:
            self.calls.append(answer.call)
            self.tokens[answer.call.id] = answer.token
        return answer


@pytest.mark.slow
def test_no_order_of_events_breaks_a_rule(database_url: str) -> None:
    machine = type("Machine", (JobMachine,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            # More of them where there is time: CALOTYPE_TEST_EXAMPLES=1000.
            max_examples=int(os.environ.get("CALOTYPE_TEST_EXAMPLES", "25")),
            stateful_step_count=30,
            database=None,
            # Shrinking would take minutes on a real database; thirty steps can be read as they are.
            phases=[Part.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
