"""What others see of a job is a function of its id and sequence: whatever changes it, changes both."""

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import pytest
from calotype.error_reasons import Code, Reason
from sqlalchemy import TextClause

from common.sql import Connection, ReadResult
from services.job.application import provider_calls, queries
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall
from services.job.domain.facts import CallSettled, JobFact, LedgerSettled
from services.job.domain.jobs import Job
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, failed, generated, image_of, succeeded


def late_success(job: Job, call: ProviderCall) -> JobFact:
    """The word of a worker that was thought dead."""
    return generated(job, call, cost=40_000)


def late_images(job: Job, call: ProviderCall) -> JobFact:
    """What a worker had when it handed its job back."""
    return LedgerSettled(job_id=job.id, calls=(succeeded(call),), images=(image_of(job, call, 0),))


def settled(job: Job, call: ProviderCall) -> JobFact:
    """What settle work came to."""
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.FAILED)
    return CallSettled(job_id=job.id, outcome=outcome, provider_cancel=None)


@pytest.mark.parametrize("fact", [late_success, late_images, settled])
def test_what_a_failed_job_learns_late_is_told_once(
    desk: JobUseCases, fact: Callable[[Job, ProviderCall], Any]
) -> None:
    job, call = desk.generate(provider="paid")
    lost = (CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN),)
    desk.apply(failed(job, code=Code.TIMEOUT, reason=Reason.AMBIGUOUS_OUTCOME, retryable=False, calls=lost))
    before = desk.get(job.id)
    assert before.retry_needs_consent

    for _ in range(2):
        desk.apply(fact(job, call))

    after = desk.get(job.id)
    assert (after.job.state, after.job.sequence) == (State.FAILED, before.job.sequence + 1)
    assert not after.retry_needs_consent
    assert told(desk, job) == [(after.job.sequence, "job.settled")]


def test_a_reason_of_a_newer_version_stays_when_its_job_is_written_again(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.apply(failed(job, retryable=False))
    newer = Reason("OF_A_NEWER_VERSION")
    desk.sql("UPDATE jobs SET failure_reason = :reason", reason=newer)
    read = desk.job(job.id)
    desk.apply(settled(job, call))

    assert read.failure is not None
    assert read.failure.reason == newer
    assert desk.job(job.id).sequence == read.sequence + 1
    assert [row.failure_reason for row in desk.sql("SELECT failure_reason FROM jobs")] == ["OF_A_NEWER_VERSION"]
    bound = desk.sql("SELECT CAST(:reason AS text) AS reason, CAST(:code AS text)", reason=newer, code=Code.TIMEOUT)
    assert [tuple(row) for row in bound] == [("OF_A_NEWER_VERSION", "TIMEOUT")]


def test_an_operation_that_is_written_down_late_is_told_once(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    lost = (CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN),)
    desk.apply(failed(job, code=Code.TIMEOUT, reason=Reason.AMBIGUOUS_OUTCOME, retryable=False, calls=lost))
    before = desk.get(job.id)

    for _ in range(2):
        desk.run(lambda c: provider_calls.record_operation(c, call.id, operation_id="op", state={}))

    after = desk.get(job.id)
    # What can be fetched is bought by nobody's retry.
    assert (before.retry_needs_consent, after.retry_needs_consent) == (True, False)
    assert told(desk, job) == [(after.job.sequence, "job.settled")] == [(before.job.sequence + 1, "job.settled")]


def test_what_a_waiting_job_costs_after_all_is_told(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid", n=2)
    desk.release(job)
    before = desk.get(job.id)
    desk.apply(LedgerSettled(job_id=job.id, calls=(succeeded(call, cost=40_000),), images=()))
    after = desk.get(job.id)

    assert (before.cost.amount_micros, after.cost.amount_micros) == (None, 40_000)
    assert (after.job.state, after.job.sequence) == (State.QUEUED, before.job.sequence + 1)
    assert [one.job.id for one in desk.claim()] == [job.id]


def test_a_late_word_that_changes_nothing_that_is_seen_is_not_told(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.apply(generated(job, call, cost=40_000))
    before = desk.get(job.id)
    desk.apply(generated(job, call, cost=40_000))

    assert desk.get(job.id) == before


def test_a_deleted_job_tells_nothing(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.cancel(job.id)
    desk.delete(job.id)
    sequence = desk.job(job.id).sequence
    desk.apply(late_success(job, call))

    assert desk.job(job.id).sequence == sequence


def test_a_job_that_changes_while_it_is_looked_at_is_seen_as_it_was(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")

    def look(connection: Connection) -> Any:
        execute = connection.execute

        def changed(statement: TextClause, parameters: Mapping[str, Any] | None = None) -> ReadResult:
            result = execute(statement, parameters)
            if "FROM jobs" in statement.text and desk.job(job.id).sequence == job.sequence:
                desk.apply(generated(job, call, cost=40_000))
            return result

        with patch.object(connection, "execute", changed):
            return queries.get_job(connection, "acme", job.id)

    seen = desk.run(look)

    assert desk.get(job.id).cost.amount_micros == 40_000
    assert (seen.job.sequence, seen.cost.amount_micros) == (job.sequence, None)


def told(desk: JobUseCases, job: Job) -> list[tuple[int, str]]:
    """Sequence and type of what came after the job failed."""
    found = desk.sql("SELECT sequence, type FROM job_events WHERE job_id = :id ORDER BY sequence", id=job.id)
    types = [row.type for row in found]
    return [(row.sequence, row.type) for row in found[types.index("job.failed") + 1 :]]
