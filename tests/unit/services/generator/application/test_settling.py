"""Open calls of final jobs are followed to their end."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from common.leased_work import Renewal, Slot
from common.memory import Memory
from common.object_store import StorageDenied
from services.generator.application import stage_images, storage_retries
from services.generator.application.settle_calls import Settler
from services.generator.domain.jobs import CallPhase
from services.generator.domain.provider_results import Acceptance, CancelOutcome, Pending
from services.generator.domain.settlements import CallOutcome, Settlement
from tests.support.generator.fakes import (
    AWAY,
    Facts,
    LedgerJobService,
    Provider,
    Reader,
    Staging,
    at,
    call_of,
    fetch_failed,
    made,
    provider_error,
    staged,
)
from tests.support.patience import PATIENCE
from tests.support.timing.clocks import put_into

STOPPED = provider_error(Acceptance.ACCEPTED, code=Code.TIMEOUT, reason=Reason.PROVIDER_CANCELED)
GONE = provider_error(Acceptance.ACCEPTED, code=Code.TIMEOUT, reason=Reason.RESULT_LOST, retryable=False)
REFUSED = provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, retryable=False)
FAILED = provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED, retryable=False)
NOT_TOLD = provider_error(Acceptance.UNKNOWN)
DENIED = provider_error(Acceptance.UNKNOWN, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH, retryable=False)


def slot_of(*, phase: CallPhase = CallPhase.ACCEPTED, **changes: Any) -> Slot[Settlement]:
    """An open call of a final job."""
    work = Settlement(
        call=call_of(phase, operation="op" if phase is CallPhase.ACCEPTED else ""),
        job_id="job_1",
        lease_token="t",
        lease_seconds=3,
        cancel=False,
        traceparent="",
        seconds_left=60,
    )
    return Slot(token="t", work=replace(work, **changes))


async def looked(
    provider: Provider,
    slot: Slot[Settlement],
    *,
    desk: LedgerJobService | None = None,
    staging: Staging | None = None,
    reader: Reader | None = None,
) -> tuple[LedgerJobService, Facts]:
    """Whom one look told what."""
    desk, facts = desk or LedgerJobService(), Facts()
    settler = Settler(
        job_service=desk,
        facts=facts,
        staging=staging or Staging(),
        reader=reader or Reader(),
        providers={"paid": provider},
        memory=Memory(64 * 1024 * 1024),
    )
    async with asyncio.timeout(PATIENCE):
        await settler.run(slot)
    return desk, facts


async def settled(provider: Provider, slot: Slot[Settlement]) -> tuple[CallOutcome, CancelOutcome | None]:
    """What the ledger is told."""
    desk, facts = await looked(provider, slot)
    assert (facts.kinds, desk.postponed) == (["call_settled"], [])
    return facts.last["outcome"], facts.last["cancel"]


@pytest.mark.parametrize(
    ("end", "phase"),
    [
        (made(), CallPhase.SUCCEEDED),
        (STOPPED, CallPhase.CANCELED),
        (GONE, CallPhase.UNKNOWN),
        (REFUSED, CallPhase.REFUSED),
        (FAILED, CallPhase.FAILED),
    ],
)
async def test_an_operation_that_has_ended_is_booked(end: Any, phase: CallPhase) -> None:
    provider = Provider(end)
    outcome, cancel = await settled(provider, slot_of())

    assert (outcome.phase, outcome.operation_id, cancel) == (phase, "op", None)
    assert outcome.cost_micros == (40_000 if phase is CallPhase.SUCCEEDED else None)
    assert (len(provider.polled), provider.canceled) == (1, [])


@pytest.mark.parametrize("answer", [Pending(), NOT_TOLD, DENIED, TimeoutError()])
@pytest.mark.parametrize("cancel", [False, True])
async def test_one_look_is_all_and_what_has_not_ended_is_given_back(answer: Any, cancel: bool) -> None:
    provider = Provider(answer)
    desk, facts = await looked(provider, slot_of(cancel=cancel))

    said = CancelOutcome.CONFIRMED if cancel else None
    assert desk.postponed == [("call_old", said, provider.poll_interval_seconds)]
    assert (facts.published, len(provider.polled)) == ([], 1)


@pytest.mark.parametrize(
    ("told", "end", "wish"),
    [
        (CancelOutcome.CONFIRMED, STOPPED, CancelOutcome.CONFIRMED),
        (CancelOutcome.CONFIRMED, made(), CancelOutcome.TOO_LATE),
        (CancelOutcome.TOO_LATE, made(), CancelOutcome.TOO_LATE),
        # It said that it was too late, and stopped all the same.
        (CancelOutcome.TOO_LATE, STOPPED, CancelOutcome.CONFIRMED),
        (CancelOutcome.UNSUPPORTED, made(), CancelOutcome.UNSUPPORTED),
        (CancelOutcome.CONFIRMED, FAILED, CancelOutcome.TOO_LATE),
        (CancelOutcome.CONFIRMED, GONE, CancelOutcome.CONFIRMED),
    ],
)
@pytest.mark.parametrize("is_asked_before", [False, True])
async def test_a_wish_to_cancel_ends_as_the_operation_does(
    told: CancelOutcome, end: Any, wish: CancelOutcome, is_asked_before: bool
) -> None:
    provider = Provider(end)
    provider.cancels = told
    _, cancel = await settled(provider, slot_of(cancel=True, cancel_outcome=told if is_asked_before else None))

    assert (cancel, provider.canceled) == (wish, [] if is_asked_before else ["op"])


async def test_a_cancel_that_was_not_answered_is_asked_for_at_the_next_look() -> None:
    provider = Provider(Pending())
    provider.cancels = NOT_TOLD
    desk, _ = await looked(provider, slot_of(cancel=True))

    assert [answer for _, answer, _ in desk.postponed] == [None]


async def test_a_cancel_that_was_answered_is_asked_for_once() -> None:
    provider = Provider(Pending())
    desk, _ = await looked(provider, slot_of(cancel=True, cancel_outcome=CancelOutcome.TOO_LATE))

    assert (provider.canceled, [answer for _, answer, _ in desk.postponed]) == ([], [CancelOutcome.TOO_LATE])


@pytest.mark.parametrize(("free", "phase"), [(True, CallPhase.FAILED), (False, CallPhase.UNKNOWN)])
@pytest.mark.parametrize(("cancel", "wish"), [(False, None), (True, CancelOutcome.UNSUPPORTED)])
async def test_a_call_without_operation_is_settled_at_once(
    free: bool, phase: CallPhase, cancel: bool, wish: CancelOutcome | None
) -> None:
    provider = Provider(AssertionError("nobody is asked"), free=free)
    outcome, told = await settled(provider, slot_of(phase=CallPhase.INTENDED, cancel=cancel))

    # Whoever began it may be at it still.
    assert (outcome.phase, outcome.is_over, told) == (phase, False, wish)


async def test_a_call_that_is_another_workers_by_now_is_left_alone() -> None:
    slot = slot_of()

    def lose() -> None:
        slot.outcome = Renewal.LOST
        slot.ended.set()

    desk, facts = await looked(Provider(Pending(), hook=lose), slot)

    assert (desk.postponed, facts.published) == ([], [])


async def test_a_call_that_cannot_be_given_back_is_left_to_its_lease() -> None:
    desk = LedgerJobService()
    desk.refusals["postpone_settlement"] = AWAY
    _, facts = await looked(Provider(Pending()), slot_of(), desk=desk)

    assert (desk.postponed, facts.published) == ([], [])


async def test_an_operation_that_has_not_ended_within_its_day_is_unknown_for_good() -> None:
    outcome, wish = await settled(Provider(Pending()), slot_of(cancel=True, seconds_left=0))

    assert outcome.phase is CallPhase.UNKNOWN
    assert wish is not None


async def test_what_ends_at_the_last_look_is_known() -> None:
    outcome, _ = await settled(Provider(made()), slot_of(seconds_left=0))

    assert outcome.phase is CallPhase.SUCCEEDED


# What a failed job's call brings.


async def test_what_a_failed_jobs_call_brings_is_staged_for_its_users_retry() -> None:
    staging = Staging()
    _, facts = await looked(Provider(made(b"a")), slot_of(keep=True), staging=staging)

    assert (facts.kinds, facts.last["outcome"].phase, facts.indexes) == (["call_settled"], CallPhase.SUCCEEDED, [0])
    assert list(staging.objects) == ["job_1/call_old/0"]


async def test_what_nobody_can_ask_for_any_more_is_not_staged() -> None:
    staging = Staging()
    _, facts = await looked(Provider(made(b"a")), slot_of(), staging=staging)

    assert (facts.last["outcome"].phase, facts.indexes, staging.objects) == (CallPhase.SUCCEEDED, [], {})


@pytest.mark.parametrize("count", [1, 2])
async def test_a_call_without_an_operation_is_looked_for_in_staging(count: int) -> None:
    staging = Staging()
    staging.add(staged(0), count=count)
    _, facts = await looked(Provider(made()), slot_of(phase=CallPhase.INTENDED, keep=True), staging=staging)

    assert facts.last["outcome"].phase is (CallPhase.SUCCEEDED if count == 1 else CallPhase.UNKNOWN)
    assert facts.indexes == [0]


@pytest.mark.parametrize("phase", [CallPhase.INTENDED, CallPhase.ACCEPTED])
async def test_a_call_whose_images_cannot_be_kept_yet_stays_open(
    phase: CallPhase, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = Staging(outages=99)
    staging.when_refused = put_into(monkeypatch, stage_images, storage_retries).once(PATIENCE)
    desk, facts = await looked(Provider(made()), slot_of(phase=phase, keep=True), staging=staging)

    assert (facts.kinds, [call_id for call_id, *_ in desk.postponed]) == ([], ["call_old"])


async def test_a_store_that_refuses_us_leaves_the_call_open_until_its_operator_has_mended_that() -> None:
    staging = Staging(outages=99, problem=StorageDenied("no"))
    desk, facts = await looked(Provider(made()), slot_of(keep=True), staging=staging)

    assert (facts.kinds, [call_id for call_id, *_ in desk.postponed]) == ([], ["call_old"])


async def test_images_that_will_never_do_were_paid_for_all_the_same() -> None:
    reader = Reader(fetch_failed(retryable=False))
    _, facts = await looked(Provider(at("http://x/1.png")), slot_of(keep=True), reader=reader)

    assert (facts.last["outcome"].phase, facts.last["outcome"].cost_micros) == (CallPhase.SUCCEEDED, 40_000)
    assert facts.indexes == []


async def test_a_look_that_is_interrupted_while_it_fetches_tells_nothing() -> None:
    slot = slot_of(keep=True)
    reader = Reader(*[fetch_failed(retryable=True)] * 99)
    reader.when_failed = slot.stopping.set
    desk, facts = await looked(Provider(at("http://x/1.png")), slot, reader=reader)

    assert (facts.kinds, desk.postponed) == ([], [])
