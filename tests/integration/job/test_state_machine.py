"""Whatever is asked and told, in whatever order: paths stay legal, events have no gaps, nothing is bought twice."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from services.job.application import rescuing
from services.job.domain.calls import CallOutcome, ProviderCall
from services.job.domain.calls import Phase as CallPhase
from services.job.domain.facts import JobFact, LedgerSettled
from services.job.domain.failures import Code, Refusal
from services.job.domain.jobs import Job
from services.job.domain.states import AT_GENERATOR, LEGAL, State, Transition
from tests.support.jobs import JobDesk, failed, generated, stored, succeeded

PICK = st.integers(0, 2**16)
ENDS = st.sampled_from([CallPhase.SUCCEEDED, CallPhase.FAILED, CallPhase.NOT_SENT, CallPhase.UNKNOWN])
DOUBLE_COVER = """
SELECT job_id, image_index FROM provider_call_images
WHERE phase IN ('intended', 'accepted', 'succeeded', 'unknown') AND NOT lifted
GROUP BY job_id, image_index HAVING count(*) > 1
"""


class JobMachine(RuleBasedStateMachine):
    """Users, workers, late workers, crashes and the monitor, all at one database."""

    desk: JobDesk

    def __init__(self) -> None:
        super().__init__()
        self.desk.sql(
            "TRUNCATE jobs, provider_calls, idempotency_keys, tenant_load, deletions, breakers, lanes CASCADE"
        )
        # Jobs as workers saw them when they claimed or began: some of these rights are no longer good.
        self.seen: list[Job] = []
        self.calls: list[tuple[Job, ProviderCall]] = []

    @rule(count=st.integers(1, 2), provider=st.sampled_from(["procedural", "paid"]))
    def submit(self, count: int, provider: str) -> None:
        """A client submits."""
        self.desk.create(n=count, provider=provider)

    @rule()
    def claim(self) -> None:
        """A generator claims."""
        self.desk.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE state IN ('queued', 'uploading')")
        self.seen += [one.job for one in self.desk.claim()]

    @rule()
    def claim_upload(self) -> None:
        """An uploader claims."""
        self.seen += [one.job for one in self.desk.claim_uploads()]

    @rule(pick=PICK, index=st.integers(0, 1))
    def begin(self, pick: int, index: int) -> None:
        """A generator, perhaps a late one, wants to buy."""
        if not self.seen:
            return
        job = self.seen[pick % len(self.seen)]
        if index < job.image_count:
            try:
                self.calls.append((job, self.desk.begin(job, index)))
            except Refusal as refusal:
                assert refusal.reason in ("LEASE_LOST", "ALREADY_BOUGHT", "CONSENT_REQUIRED")

    @rule(pick=PICK, twice=st.booleans())
    def tell_generated(self, pick: int, twice: bool) -> None:
        """A generator states success, perhaps late, perhaps twice."""
        if self.calls:
            job, call = self.calls[pick % len(self.calls)]
            self._tell(job, *[generated(job, call)] * (2 if twice else 1))

    @rule(pick=PICK, code=st.sampled_from(Code), retryable=st.booleans(), end=ENDS)
    def tell_failed(self, pick: int, code: Code, retryable: bool, end: CallPhase) -> None:
        """A worker states failure with what its call came to."""
        if self.calls:
            job, call = self.calls[pick % len(self.calls)]
            outcome = succeeded(call) if end is CallPhase.SUCCEEDED else CallOutcome(call_id=call.id, phase=end)
            self._tell(job, failed(job, code=code, retryable=retryable, calls=(outcome,)))

    @rule(pick=PICK, end=ENDS)
    def tell_ledger(self, pick: int, end: CallPhase) -> None:
        """A worker without a lease settles its call."""
        if self.calls:
            job, call = self.calls[pick % len(self.calls)]
            self.desk.fold(LedgerSettled(job_id=job.id, calls=(CallOutcome(call_id=call.id, phase=end),), images=()))

    @rule(pick=PICK)
    def tell_stored(self, pick: int) -> None:
        """An uploader, or somebody who takes himself for one, states success."""
        if self.seen:
            job = self.seen[pick % len(self.seen)]
            self._tell(job, stored(job))

    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        """A worker hands a job back."""
        if self.seen:
            job = self.seen[pick % len(self.seen)]
            before = self.desk.job(job.id)
            self.desk.release(job)
            self._check_fence(job, before)

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """A user cancels."""
        if self.seen:
            self._allowed(lambda: self.desk.cancel(self.seen[pick % len(self.seen)].id))

    @rule(pick=PICK, consents=st.booleans())
    def retry(self, pick: int, consents: bool) -> None:
        """A user retries."""
        if self.seen:
            self._allowed(lambda: self.desk.retry(self.seen[pick % len(self.seen)].id, consents=consents))

    @rule()
    def crash_and_rescue(self) -> None:
        """All workers vanish; the monitor looks."""
        self.desk.sql(
            "UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE lease_token IS NOT NULL"
        )
        noted = self.desk.run(lambda c: rescuing.candidates(c, self.desk.limits))
        self.desk.run(lambda c: rescuing.rescue(c, noted, limits=self.desk.limits))

    def _tell(self, job: Job, *facts: JobFact) -> None:
        before = self.desk.job(job.id)
        self.desk.fold(*facts)
        self._check_fence(job, before)

    def _check_fence(self, teller: Job, before: Job) -> None:
        """Whoever does not hold the job has moved nothing."""
        if before.lease is None or before.lease.token != (teller.lease and teller.lease.token):
            assert self.desk.job(teller.id) == before

    def _allowed(self, act: Any) -> None:
        try:
            act()
        except Refusal as refusal:
            assert refusal.reason in ("WRONG_STATE", "CONSENT_REQUIRED")

    @invariant()
    def paths_are_legal_and_without_gap(self) -> None:
        """Events tell a legal path, gapless, and as many outbox rows."""
        paths: dict[str, list[Any]] = defaultdict(list)
        for row in self.desk.sql("SELECT job_id, sequence, type, state FROM job_events ORDER BY job_id, sequence"):
            paths[row.job_id].append(row)
        for events in paths.values():
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert (events[0].type, events[0].state) == (Transition.SUBMIT, State.QUEUED)
            for before, after in pairwise(events):
                assert State(after.state) in LEGAL[Transition(after.type)][State(before.state)]
        [outbox] = self.desk.sql("SELECT count(*) AS n FROM outbox")
        assert outbox.n == sum(map(len, paths.values()))

    @invariant()
    def the_row_is_its_last_event(self) -> None:
        """State and sequence are those of the newest event."""
        newest = "SELECT DISTINCT ON (job_id) job_id, sequence, state FROM job_events ORDER BY job_id, sequence DESC"
        rows = self.desk.sql(
            f"SELECT jobs.id FROM jobs LEFT JOIN ({newest}) AS event"
            " ON event.job_id = jobs.id AND event.sequence = jobs.sequence AND event.state = jobs.state"
            " WHERE event.job_id IS NULL"
        )
        assert rows == []

    @invariant()
    def nothing_is_bought_twice(self) -> None:
        """No image has two calls that may have bought it, unless somebody consented."""
        assert self.desk.sql(DOUBLE_COVER) == []

    @invariant()
    def every_queued_job_has_a_lane_that_wakes_in_time(self) -> None:
        """Whatever is due, claims look there."""
        rows = self.desk.sql(
            "SELECT id FROM jobs WHERE state = 'queued' AND NOT EXISTS ("
            "SELECT 1 FROM lanes WHERE lanes.tenant = jobs.tenant AND lanes.provider = jobs.provider"
            " AND lanes.model = jobs.model AND lanes.fallback = jobs.fallback"
            " AND (wakes_at IS NULL OR wakes_at <= greatest(run_at, clock_timestamp())))"
        )
        assert rows == []

    @invariant()
    def a_lease_is_where_a_worker_is(self) -> None:
        """Jobs at a generator are leased, and only they and uploads are."""
        for row in self.desk.sql("SELECT state, lease_token FROM jobs"):
            if State(row.state) in AT_GENERATOR:
                assert row.lease_token is not None
            elif State(row.state) is not State.UPLOADING:
                assert row.lease_token is None

    @invariant()
    def every_claim_has_its_attempt_and_only_the_holders_is_open(self) -> None:
        """As many attempts as claims; one that has not ended is the lease's."""
        rows = self.desk.sql(
            "SELECT id FROM jobs WHERE claim_number <> (SELECT count(*) FROM attempts WHERE job_id = id)"
            " OR (SELECT array_agg(attempt.lease_token) FROM attempts AS attempt"
            " WHERE attempt.job_id = id AND ended_at IS NULL) IS DISTINCT FROM"
            " CASE WHEN lease_token IS NULL THEN NULL ELSE ARRAY[lease_token] END"
        )
        assert rows == []

    @invariant()
    def what_goes_on_has_images(self) -> None:
        """A job is uploaded or completed with at least one image, and a completed one's are public."""
        rows = self.desk.sql(
            "SELECT id FROM jobs WHERE state IN ('uploading', 'completed') AND NOT EXISTS ("
            "SELECT 1 FROM artifacts WHERE job_id = jobs.id AND (state = 'uploading' OR public_name IS NOT NULL))"
        )
        assert rows == []


@pytest.mark.slow
def test_no_order_of_events_breaks_the_machine(desk: JobDesk) -> None:
    machine = type("Machine", (JobMachine,), {"desk": desk})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            derandomize=False,
            database=None,
            # Shrinking would take minutes on a real database; thirty steps can be read as they are.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
