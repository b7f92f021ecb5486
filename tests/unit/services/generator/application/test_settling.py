"""Open calls of final jobs are followed to their end."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from common.leased_work import Renewal, Slot
from services.generator.application.settling import Settler
from services.generator.domain.outcomes import Acceptance, CancelOutcome, Pending
from services.generator.domain.work import Phase
from services.generator.ports import Outcome, Settlement
from tests.support.generation import AWAY, Desk, Facts, Provider, call_of, made, provider_error
from tests.support.patience import PATIENCE

STOPPED = provider_error(Acceptance.ACCEPTED, code="TIMEOUT", reason="PROVIDER_CANCELED")
GONE = provider_error(Acceptance.ACCEPTED, code="TIMEOUT", reason="RESULT_LOST", retryable=False)
REFUSED = provider_error(Acceptance.ACCEPTED, code="PERMANENT", reason="CONTENT_POLICY", retryable=False)
FAILED = provider_error(Acceptance.ACCEPTED, code="PERMANENT", reason="PROVIDER_REJECTED", retryable=False)
NOT_TOLD = provider_error(Acceptance.UNKNOWN)
DENIED = provider_error(Acceptance.UNKNOWN, code="AUTH_ERROR", reason="PROVIDER_AUTH", retryable=False)


def slot_of(*, phase: Phase = Phase.ACCEPTED, **changes: Any) -> Slot[Settlement]:
    """An open call of a final job."""
    work = Settlement(
        call=call_of(phase, operation="op" if phase is Phase.ACCEPTED else ""),
        job_id="job_1",
        lease_token="t",
        lease_seconds=3,
        cancel=False,
        traceparent="",
        seconds_left=60,
    )
    return Slot(token="t", work=replace(work, **changes))


async def looked(provider: Provider, slot: Slot[Settlement]) -> tuple[Desk, Facts]:
    """Whom one look told what."""
    desk, facts = Desk(), Facts()
    async with asyncio.timeout(PATIENCE):
        await Settler(desk, facts, {"paid": provider}).run(slot)
    return desk, facts


async def settled(provider: Provider, slot: Slot[Settlement]) -> tuple[Outcome, CancelOutcome | None]:
    """What the ledger is told."""
    desk, facts = await looked(provider, slot)
    assert (facts.kinds, desk.postponed) == (["call_settled"], [])
    return facts.last["outcome"], facts.last["cancel"]


@pytest.mark.parametrize(
    ("end", "phase"),
    [
        (made(), Phase.SUCCEEDED),
        (STOPPED, Phase.CANCELED),
        (GONE, Phase.UNKNOWN),
        (REFUSED, Phase.REFUSED),
        (FAILED, Phase.FAILED),
    ],
)
async def test_an_operation_that_has_ended_is_booked(end: Any, phase: Phase) -> None:
    provider = Provider(end)
    outcome, cancel = await settled(provider, slot_of())

    assert (outcome.phase, outcome.operation_id, cancel) == (phase, "op", None)
    assert outcome.cost_micros == (40_000 if phase is Phase.SUCCEEDED else None)
    assert (len(provider.polled), provider.canceled) == (1, [])


@pytest.mark.parametrize("answer", [Pending(), NOT_TOLD, DENIED, TimeoutError()])
@pytest.mark.parametrize("cancel", [False, True])
async def test_one_look_is_all_and_what_has_not_ended_is_given_back(answer: Any, cancel: bool) -> None:
    provider = Provider(answer)
    desk, facts = await looked(provider, slot_of(cancel=cancel))

    said = CancelOutcome.CONFIRMED if cancel else None
    assert desk.postponed == [("call_old", said, provider.poll_interval_seconds)]
    assert (facts.told, len(provider.polled)) == ([], 1)


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
    _, cancel = await settled(provider, slot_of(cancel=True, cancel_answer=told if is_asked_before else None))

    assert (cancel, provider.canceled) == (wish, [] if is_asked_before else ["op"])


async def test_a_cancel_that_was_not_answered_is_asked_for_at_the_next_look() -> None:
    provider = Provider(Pending())
    provider.cancels = NOT_TOLD
    desk, _ = await looked(provider, slot_of(cancel=True))

    assert [answer for _, answer, _ in desk.postponed] == [None]


async def test_a_cancel_that_was_answered_is_asked_for_once() -> None:
    provider = Provider(Pending())
    desk, _ = await looked(provider, slot_of(cancel=True, cancel_answer=CancelOutcome.TOO_LATE))

    assert (provider.canceled, [answer for _, answer, _ in desk.postponed]) == ([], [CancelOutcome.TOO_LATE])


@pytest.mark.parametrize(("free", "phase"), [(True, Phase.FAILED), (False, Phase.UNKNOWN)])
@pytest.mark.parametrize(("cancel", "wish"), [(False, None), (True, CancelOutcome.UNSUPPORTED)])
async def test_a_call_without_operation_is_settled_at_once(
    free: bool, phase: Phase, cancel: bool, wish: CancelOutcome | None
) -> None:
    provider = Provider(AssertionError("nobody is asked"), free=free)
    outcome, told = await settled(provider, slot_of(phase=Phase.INTENDED, cancel=cancel))

    # Whoever began it may be at it still.
    assert (outcome.phase, outcome.is_over, told) == (phase, False, wish)


async def test_a_call_that_is_another_workers_by_now_is_left_alone() -> None:
    slot = slot_of()

    def lose() -> None:
        slot.outcome = Renewal.LOST
        slot.ended.set()

    desk, facts = await looked(Provider(Pending(), hook=lose), slot)

    assert (desk.postponed, facts.told) == ([], [])


async def test_a_call_that_cannot_be_given_back_is_left_to_its_lease() -> None:
    desk, facts = Desk(), Facts()
    desk.refusals["postpone_settlement"] = AWAY
    await Settler(desk, facts, {"paid": Provider(Pending())}).run(slot_of())

    assert (desk.postponed, facts.told) == ([], [])


async def test_an_operation_that_has_not_ended_within_its_day_is_unknown_for_good() -> None:
    outcome, wish = await settled(Provider(Pending()), slot_of(cancel=True, seconds_left=0))

    assert outcome.phase is Phase.UNKNOWN
    assert wish is not None


async def test_what_ends_at_the_last_look_is_known() -> None:
    outcome, _ = await settled(Provider(made()), slot_of(seconds_left=0))

    assert outcome.phase is Phase.SUCCEEDED
