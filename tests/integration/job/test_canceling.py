"""A cancel says truly what becomes of a call that is out: at once, and once more when the last has ended."""

from collections.abc import Callable

import pytest

from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall
from services.job.domain.facts import LedgerSettled
from services.job.domain.jobs import Job, ProviderCancel
from tests.support.job_service.use_cases import JobUseCases, failed, generated, not_sent, succeeded

Teller = Callable[[JobUseCases, Job, ProviderCall], None]


def makes_the_images(desk: JobUseCases, job: Job, call: ProviderCall) -> None:
    """The worker did not hear of the cancel."""
    desk.apply(generated(job, call))


def fails(desk: JobUseCases, job: Job, call: ProviderCall) -> None:
    """The call failed before the worker heard of the cancel."""
    desk.apply(failed(job, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),)))


def settles_the_ledger(desk: JobUseCases, job: Job, call: ProviderCall) -> None:
    """The worker heard of the cancel when the call was over."""
    desk.apply(LedgerSettled(job_id=job.id, calls=(succeeded(call),), images=()))


def stops_the_provider(desk: JobUseCases, job: Job, call: ProviderCall) -> None:
    """The worker asked the provider to stop in time."""
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.CANCELED)
    desk.apply(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))


def hears_nothing(desk: JobUseCases, job: Job, call: ProviderCall) -> None:
    """The connection broke."""
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN)
    desk.apply(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))


def sends_nothing(desk: JobUseCases, job: Job, call: ProviderCall) -> None:
    """The worker heard of the cancel before the call left."""
    desk.release(job, not_sent(call))


@pytest.mark.parametrize(
    ("teller", "end"),
    [
        (makes_the_images, ProviderCancel.TOO_LATE),
        (fails, ProviderCancel.TOO_LATE),
        (settles_the_ledger, ProviderCancel.TOO_LATE),
        (stops_the_provider, ProviderCancel.CONFIRMED),
        (hears_nothing, ProviderCancel.UNSUPPORTED),
        (sends_nothing, ProviderCancel.NOT_NEEDED),
    ],
)
def test_whoever_ends_the_last_call_ends_the_wish(desk: JobUseCases, teller: Teller, end: ProviderCancel) -> None:
    job, call = desk.generate(provider="paid")
    canceled = desk.cancel(job.id).job
    teller(desk, job, call)
    teller(desk, job, call)
    after = desk.job(job.id)

    assert canceled.provider_cancel is ProviderCancel.PENDING
    assert (after.provider_cancel, after.sequence) == (end, canceled.sequence + 1)
    [told] = desk.sql("SELECT snapshot FROM job_events WHERE sequence = :s", s=after.sequence)
    assert told.snapshot["job"]["provider_cancel"] == end


def test_a_wish_lasts_as_long_as_any_call_is_open(desk: JobUseCases) -> None:
    desk.create(n=2, provider="paid")
    [claimed] = desk.claim()
    first, second = desk.begin(claimed.job, 0), desk.begin(claimed.job, 1)
    job = desk.job(claimed.job.id)
    desk.cancel(job.id)
    settles_the_ledger(desk, job, first)
    assert desk.job(job.id).provider_cancel is ProviderCancel.PENDING
    stops_the_provider(desk, job, second)

    assert desk.job(job.id).provider_cancel is ProviderCancel.TOO_LATE


def test_what_had_ended_before_the_cancel_is_no_news_of_it(desk: JobUseCases) -> None:
    desk.create(n=2, provider="paid")
    [claimed] = desk.claim()
    first, second = desk.begin(claimed.job, 0), desk.begin(claimed.job, 1)
    job = desk.job(claimed.job.id)
    settles_the_ledger(desk, job, first)
    desk.cancel(job.id)
    stops_the_provider(desk, job, second)

    assert desk.job(job.id).provider_cancel is ProviderCancel.CONFIRMED


def test_a_provider_that_cannot_stop_is_never_said_to_be_asked(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="procedural")
    canceled = desk.cancel(job.id).job
    makes_the_images(desk, job, call)

    assert canceled.provider_cancel is ProviderCancel.UNSUPPORTED
    assert desk.job(job.id).provider_cancel is ProviderCancel.UNSUPPORTED


def test_a_call_that_never_left_needed_no_cancel_after_all(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="procedural")
    desk.cancel(job.id)
    sends_nothing(desk, job, call)

    assert desk.job(job.id).provider_cancel is ProviderCancel.NOT_NEEDED
    assert [row.bucket for row in desk.sql("SELECT bucket FROM deletions")] == ["staging"]


def test_a_deleted_job_tells_nothing_of_its_wish(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.cancel(job.id)
    desk.delete(job.id)
    settles_the_ledger(desk, job, call)
    sends_nothing(desk, job, call)

    assert desk.sql("SELECT 1 FROM job_events WHERE type = 'job.settled'") == []
