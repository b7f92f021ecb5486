"""A database that is restored from a backup has forgotten calls; none of them is made again without consent."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main
from common.postgres import open_pool
from common.sql import text, transaction
from services.job.application import provider_calls
from services.job.application.restored_jobs import JOB_SERVICE
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, failed, generated
from tests.support.servers import backups

Reconcile = Callable[..., dict[str, int]]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command on the database."""
    monkeypatch.setenv("CALOTYPE_DATABASE_URL", database_url)
    return lambda *arguments: CliRunner().invoke(main, ["reconcile", "--json", *arguments])


@pytest.fixture
def reconcile(run: Callable[..., Result]) -> Reconcile:
    """What the command counts."""

    def counted(*arguments: str) -> dict[str, int]:
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        counts: dict[str, int] = json.loads(result.stdout)
        return counts

    return counted


def refuse_purchase(desk: JobUseCases, job_id: str) -> None:
    """Claims the one job that waits, which its worker may not buy, and ends the claim as a generator does."""
    [claimed] = desk.claim(5)
    assert claimed.job.id == job_id
    assert not claimed.may_pay_again
    with pytest.raises(Refusal, match="no consent to pay again"):
        desk.begin(claimed.job)
    desk.apply(failed(claimed.job, retryable=False))
    assert desk.get(job_id).retry_needs_consent


def test_what_waited_is_bought_again_only_once_its_user_says_so(
    desk: JobUseCases, database_url: str, tmp_path: Path, reconcile: Reconcile
) -> None:
    job_id = desk.create(provider="paid").job.id
    backups.dump(database_url, tmp_path / "backup")
    [claimed] = desk.claim()
    desk.apply(generated(claimed.job, desk.begin(claimed.job)))
    # As no service may be connected.
    desk.dispose()
    backups.restore(tmp_path / "backup", database_url)

    assert reconcile() == {"open_jobs": 1, "failed_jobs": 0, "calls": 1, "found": 0}
    refuse_purchase(desk, job_id)
    with pytest.raises(Refusal, match="charged twice"):
        desk.retry(job_id)
    desk.retry(job_id, consents=True)
    [again] = desk.claim()
    call = desk.begin(again.job)
    assert desk.apply(generated(again.job, call)).moved


@pytest.mark.parametrize("whose", ["the user's", "the job's"])
def test_a_consent_of_before_may_have_been_used(desk: JobUseCases, reconcile: Reconcile, whose: str) -> None:
    on_ambiguous = OnAmbiguous.RETRY if whose == "the job's" else OnAmbiguous.FAIL
    job, call = desk.generate(provider="paid", on_ambiguous=on_ambiguous)
    unknown = CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN)
    desk.apply(failed(job, retryable=whose == "the job's", calls=(unknown,)))
    if whose == "the user's":
        desk.retry(job.id, consents=True)
    desk.sql("UPDATE jobs SET run_at = clock_timestamp()")

    reconcile()
    refuse_purchase(desk, job.id)


def test_a_job_at_a_generator_is_put_back_and_its_operation_followed(desk: JobUseCases, reconcile: Reconcile) -> None:
    job, call = desk.generate(provider="paid")
    desk.run(lambda c: provider_calls.record_operation(c, call.id, operation_id="p1", state={}))

    assert reconcile()["calls"] == 1
    [claimed] = desk.claim()
    assert claimed.job.claim_number > job.claim_number + 1
    assert [each.phase for each in claimed.calls] == [CallPhase.UNKNOWN, CallPhase.ACCEPTED]
    assert desk.follow(claimed.job, call.id).operation_id == "p1"
    # It made nothing, and its job may have been bought again since the backup.
    desk.apply(failed(claimed.job, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),)))
    desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
    refuse_purchase(desk, job.id)


def test_a_call_that_was_about_to_be_sent_is_not_sent_again(desk: JobUseCases, reconcile: Reconcile) -> None:
    job, call = desk.generate(provider="paid")

    reconcile()
    assert {row.phase for row in desk.sql("SELECT phase FROM provider_calls WHERE id = :id", id=call.id)} == {"unknown"}
    refuse_purchase(desk, job.id)


def test_a_failed_job_may_have_been_retried(desk: JobUseCases, reconcile: Reconcile) -> None:
    job, call = desk.generate(provider="paid", n=2)
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.REFUSED)
    desk.apply(failed(job, retryable=False, calls=(outcome,)))
    before = desk.get(job.id)
    assert not before.retry_needs_consent

    assert reconcile() == {"open_jobs": 0, "failed_jobs": 1, "calls": 1, "found": 0}
    after = desk.get(job.id)
    assert after.retry_needs_consent
    assert after.job.sequence == before.job.sequence + 1


def test_what_costs_nothing_or_is_over_is_left_alone(desk: JobUseCases, reconcile: Reconcile) -> None:
    free = desk.create()
    canceled = desk.create(provider="paid")
    desk.cancel(canceled.job.id)

    assert reconcile()["calls"] == 0
    assert desk.job(free.job.id) == free.job
    [claimed] = desk.claim()
    assert desk.begin(claimed.job).phase is CallPhase.INTENDED


def test_again_and_as_a_preview_it_changes_nothing(desk: JobUseCases, reconcile: Reconcile) -> None:
    desk.create(provider="paid", n=3, on_ambiguous=OnAmbiguous.RETRY)
    desk.generate(provider="paid")

    preview = reconcile("--preview")
    assert desk.sql("SELECT 1 FROM provider_calls WHERE phase = 'unknown'") == []
    assert reconcile() == preview
    assert preview["open_jobs"] == 2
    assert reconcile() == {"open_jobs": 0, "failed_jobs": 0, "calls": 0, "found": 0}
    assert {row.state for row in desk.sql("SELECT state FROM jobs")} == {State.QUEUED}


def test_it_does_nothing_beside_a_service(run: Callable[..., Result], desk: JobUseCases, database_url: str) -> None:
    desk.create(provider="paid")
    engine = open_pool(database_url, connect_args={"application_name": JOB_SERVICE})
    with transaction(engine) as connection:
        connection.execute(text("SELECT 1"))
        refused = run()
    engine.dispose()

    assert refused.exit_code == 1
    assert "stop all services first" in refused.stderr
    assert desk.sql("SELECT 1 FROM provider_calls") == []
