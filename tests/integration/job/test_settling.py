"""Calls that outlive their job are followed to their end by one worker each."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from services.job.application import claims
from services.job.application.provider_calls import record_operation
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall
from services.job.domain.facts import CallSettled
from services.job.domain.jobs import ProviderCancel
from services.job.domain.states import State
from services.job.store import settlements
from services.job.store.settlements import Settlement
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, image_of, succeeded

LATER = "UPDATE provider_calls SET settle_expires_at = clock_timestamp() - interval '1 s'"


def claim(
    desk: JobUseCases, count: int = 1, *, providers: tuple[str, ...] = ("paid",), worker: str = "w"
) -> list[Settlement]:
    """Hold open calls as a generator."""
    tokens, seconds = [uuid4() for _ in range(count)], desk.limits.lease_seconds
    return desk.run(lambda c: settlements.claim(c, worker=worker, tokens=tokens, providers=providers, seconds=seconds))


def postpone(desk: JobUseCases, held: Settlement, *, answer: ProviderCancel | None = None, pause: float = 1.0) -> bool:
    """Tell of a look that ended nothing."""
    return desk.run(lambda c: settlements.postpone(c, held.token, cancel_outcome=answer, pause=pause))


def wait(desk: JobUseCases) -> float:
    """Seconds until the one postponed call is looked at again; they pass."""
    [row] = desk.sql(
        "SELECT extract(epoch FROM next_look_at - clock_timestamp()) AS s FROM provider_calls"
        " WHERE next_look_at IS NOT NULL"
    )
    desk.sql("UPDATE provider_calls SET next_look_at = clock_timestamp() WHERE next_look_at IS NOT NULL")
    return float(row.s)


def accepted(desk: JobUseCases, provider: str = "paid") -> ProviderCall:
    """An operation under way at the provider."""
    desk.create(provider=provider)
    [claimed] = desk.claim(only=(provider,))
    call = desk.begin(claimed.job)
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={}))
    return call


def test_a_canceled_jobs_operation_is_to_be_canceled_at_the_provider(desk: JobUseCases) -> None:
    call = accepted(desk)
    assert claim(desk) == []
    desk.cancel(call.job_id)
    [held] = claim(desk)

    assert (held.call.id, held.call.operation_id, held.cancel) == (call.id, "op", True)
    assert claim(desk) == []


def test_a_failed_jobs_operation_is_followed_without_a_cancel(desk: JobUseCases) -> None:
    call = accepted(desk)
    desk.apply(failed(desk.job(call.job_id), retryable=False))

    assert [held.cancel for held in claim(desk)] == [False]


def test_a_call_that_may_still_be_under_way_is_left_to_its_worker_for_one_lease(desk: JobUseCases) -> None:
    job, _ = desk.generate(provider="paid")
    desk.cancel(job.id)
    assert claim(desk) == []
    desk.sql("UPDATE jobs SET completed_at = clock_timestamp() - interval '31 s'")

    assert [held.call.phase for held in claim(desk)] == [CallPhase.INTENDED]


def test_a_call_is_followed_for_a_day_since_it_began_whoever_follows_it(desk: JobUseCases) -> None:
    desk.cancel(accepted(desk).job_id)
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '23 hours'")
    [held] = claim(desk)
    assert held.seconds_left == pytest.approx(3600, abs=60)
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '2 hours', settle_expires_at = now()")

    assert [held.seconds_left for held in claim(desk)] == [0]


def test_only_a_workers_own_providers_are_settled(desk: JobUseCases) -> None:
    desk.cancel(accepted(desk).job_id)

    assert claim(desk, providers=("procedural",)) == []


def test_two_workers_never_settle_one_call(desk: JobUseCases) -> None:
    for _ in range(12):
        desk.cancel(accepted(desk).job_id)
    with ThreadPoolExecutor(4) as threads:
        batches = threads.map(lambda number: claim(desk, 6, worker=f"w{number}"), range(4))
        held = [one for found in batches for one in found]
    held += [one for number in range(4) for one in claim(desk, 12, worker=f"w{number}")]

    assert len(held) == len({one.call.id for one in held}) == len({one.token for one in held}) == 12


def test_a_worker_that_vanished_is_followed_by_another_and_told_so(desk: JobUseCases) -> None:
    desk.cancel(accepted(desk).job_id)
    [first] = claim(desk)
    renewed = _renew(desk, first.token)
    desk.sql(LATER)
    [second] = claim(desk)

    assert renewed == [(str(first.token), "renewed")]
    assert _renew(desk, first.token) == [(str(first.token), "lost")]
    assert second.call.id == first.call.id


def test_a_call_that_ended_is_nobodys_work_any_more(desk: JobUseCases) -> None:
    call = accepted(desk)
    desk.cancel(call.job_id)
    [held] = claim(desk)
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.CANCELED, cost_micros=0)
    desk.apply(CallSettled(job_id=call.job_id, outcome=outcome, provider_cancel=ProviderCancel.CONFIRMED))

    assert claim(desk) == []
    assert _renew(desk, held.token) == [(str(held.token), "lost")]


def test_a_call_that_has_not_ended_is_looked_at_less_and_less_often(desk: JobUseCases) -> None:
    desk.cancel(accepted(desk).job_id)
    waits = []
    for _ in range(30):
        [held] = claim(desk)
        assert postpone(desk, held, pause=10)
        assert claim(desk) == []
        waits.append(wait(desk))

    assert all(seconds <= min(10 * 1.2**looks, 60) for looks, seconds in enumerate(waits))
    # However slow this machine was meanwhile.
    assert waits[-1] > 10


@pytest.mark.parametrize("pause", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_no_pause_that_a_worker_names_is_without_an_end(desk: JobUseCases, pause: float) -> None:
    desk.cancel(accepted(desk).job_id)
    [held] = claim(desk)
    postpone(desk, held, pause=pause)

    [row] = desk.sql("SELECT extract(epoch FROM next_look_at - clock_timestamp()) AS s FROM provider_calls")
    assert row.s <= 60
    assert [row.settle_looks for row in desk.sql("SELECT settle_looks FROM provider_calls")] == [1]


def test_a_worker_that_lost_a_call_postpones_nothing(desk: JobUseCases) -> None:
    desk.cancel(accepted(desk).job_id)
    [lost] = claim(desk)
    desk.sql(LATER)
    [held] = claim(desk)

    assert not postpone(desk, lost)
    assert postpone(desk, held)
    assert not postpone(desk, held)


def test_what_a_provider_said_to_a_cancel_is_remembered(desk: JobUseCases) -> None:
    desk.cancel(accepted(desk).job_id)
    [first] = claim(desk)
    postpone(desk, first)
    wait(desk)
    [second] = claim(desk)
    postpone(desk, second, answer=ProviderCancel.TOO_LATE)
    wait(desk)
    [third] = claim(desk)
    postpone(desk, third)
    wait(desk)
    [fourth] = claim(desk)

    answers = [one.cancel_outcome for one in (first, second, third, fourth)]
    assert answers == [None, None, ProviderCancel.TOO_LATE, ProviderCancel.TOO_LATE]


def test_who_has_yet_to_be_asked_to_stop_comes_first(desk: JobUseCases) -> None:
    # More than the provider's share, which they must not use up before it.
    for _ in range(settlements.MAX_PER_PROVIDER):
        desk.apply(failed(desk.job(accepted(desk).job_id), retryable=False))
    asked = accepted(desk)
    desk.cancel(asked.job_id)
    [held] = claim(desk)
    postpone(desk, held, answer=ProviderCancel.CONFIRMED, pause=0.1)
    wait(desk)
    stopping = accepted(desk)
    desk.cancel(stopping.job_id)

    assert (held.call.id, [one.call.id for one in claim(desk)]) == (asked.id, [stopping.id])


def test_no_providers_calls_take_all_of_a_workers_slots(desk: JobUseCases) -> None:
    other = replace(PAID, name="other")
    desk.register(FREE, PAID, other)
    for _ in range(settlements.MAX_PER_PROVIDER + 3):
        desk.cancel(accepted(desk).job_id)
    of_paid = claim(desk, 64, providers=("paid", "other"))
    well = accepted(desk, "other")
    desk.apply(failed(desk.job(well.job_id), retryable=False))

    assert len(of_paid) == settlements.MAX_PER_PROVIDER
    assert [one.call.id for one in claim(desk, 64, providers=("paid", "other"))] == [well.id]
    # Another generator takes its own share.
    assert len(claim(desk, 64, worker="v")) == 3


def test_slots_are_shared_between_providers(desk: JobUseCases) -> None:
    other = replace(PAID, name="other")
    desk.register(FREE, PAID, other)
    for provider in ("paid",) * 6 + ("other",) * 2:
        desk.cancel(accepted(desk, provider).job_id)
    held = claim(desk, 4, providers=("paid", "other"))

    assert sorted(one.call.provider for one in held) == ["other", "other", "paid", "paid"]


def _renew(desk: JobUseCases, token: UUID) -> list[tuple[str, str]]:
    answers: list[tuple[str, str]] = desk.run(lambda c: claims.renew_settlements(c, [token], limits=desk.limits))
    return answers


def test_what_a_failed_jobs_call_brought_late_needs_no_second_purchase(desk: JobUseCases) -> None:
    call = accepted(desk)
    job = desk.job(call.job_id)
    desk.apply(failed(job, retryable=False))
    [held] = claim(desk)
    images = (image_of(job, call, 0),)
    desk.apply(CallSettled(job_id=job.id, outcome=succeeded(call), images=images, provider_cancel=None))

    assert held.keep
    seen = desk.get(job.id)
    assert (seen.job.state, seen.retry_needs_consent) == (State.FAILED, False)
    assert desk.retry(job.id).job.state is State.UPLOADING
    assert len(desk.claim_uploads()) == 1


@pytest.mark.parametrize("end", ["canceled", "deleted"])
def test_nothing_is_kept_of_a_call_whose_job_nobody_can_retry(desk: JobUseCases, end: str) -> None:
    call = accepted(desk)
    if end == "canceled":
        desk.cancel(call.job_id)
    else:
        desk.apply(failed(desk.job(call.job_id), retryable=False))
        desk.delete(call.job_id)
    [held] = claim(desk)

    assert not held.keep
