"""Leased work: slots, tokens, renewals, and the end."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from calotype.error_reasons import Reason

from common.errors import ServiceError
from common.leased_work import LeasedWork, Renewal, Slot
from tests.support.patience import PATIENCE

AWAY = ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="Away.")


class Desk:
    """Hands out strings as work, and remembers what it was asked; `problems` are raised first, one per call."""

    def __init__(self, *due: str) -> None:
        self.due = list(due)
        self.claims: list[list[str]] = []
        self.renewals: list[list[str]] = []
        self.outcomes: dict[str, Renewal] = {}
        self.claim_problems: list[ServiceError] = []
        self.renewal_problems: list[Exception] = []
        self.asked = asyncio.Condition()

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, str]]:
        """As much as is due."""
        async with self.asked:
            self.claims.append(list(tokens))
            self.asked.notify_all()
        if self.claim_problems:
            raise self.claim_problems.pop(0)
        given, self.due = self.due[: len(tokens)], self.due[len(tokens) :]
        return list(zip(tokens, given, strict=False))

    async def renew(self, works: Sequence[str]) -> Mapping[str, Renewal]:
        """What the test wants."""
        async with self.asked:
            self.renewals.append(list(works))
            self.asked.notify_all()
        if self.renewal_problems:
            raise self.renewal_problems.pop(0)
        return self.outcomes

    async def wait_for_claims(self, count: int) -> None:
        """Wait until it was asked so often."""
        async with self.asked, asyncio.timeout(PATIENCE):
            await self.asked.wait_for(lambda: len(self.claims) >= count)

    async def wait_for_renewals(self, count: int) -> None:
        """Wait until leases were renewed so often."""
        async with self.asked, asyncio.timeout(PATIENCE):
            await self.asked.wait_for(lambda: len(self.renewals) >= count)


class Hands:
    """Does work by holding it until the test lets it end."""

    def __init__(self) -> None:
        self.slots: asyncio.Queue[Slot[str]] = asyncio.Queue()
        self.may_end = asyncio.Event()
        self.ended: list[str] = []
        self.canceled: list[str] = []

    async def run(self, slot: Slot[str]) -> None:
        """Hold."""
        await self.slots.put(slot)
        if slot.work.startswith("broken"):
            raise ValueError(slot.work)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.canceled.append(slot.work)
            raise
        self.ended.append(slot.work)

    async def next(self) -> Slot[str]:
        """The next piece of work that was begun."""
        async with asyncio.timeout(PATIENCE):
            return await self.slots.get()


class FakeHints:
    """Hints that the test gives; `wait` ends at once without one when `hasty`, as while a broker is away."""

    def __init__(self, *, hasty: bool = False) -> None:
        self.hasty = hasty
        self.waits: asyncio.Queue[int] = asyncio.Queue()
        self.given: asyncio.Queue[int] = asyncio.Queue()

    async def wait(self, most: int, *, seconds: float) -> int:
        """Wait for the test."""
        await self.waits.put(most)
        if self.hasty:
            await asyncio.sleep(0)
            return 0
        return await self.given.get()


def leased(desk: Desk, hands: Hands, **options: Any) -> LeasedWork[str]:
    """Two slots, a lease too long to be renewed in a test, a poll too slow to come."""
    settings: dict[str, Any] = {
        "slots": 2,
        "lease_of": lambda work: 3000.0,
        "poll_seconds": 1000.0,
        "wakeups": None,
    } | options
    return LeasedWork("work", claim=desk.claim, renew=desk.renew, run=hands.run, **settings)


@asynccontextmanager
async def working(work: LeasedWork[str], *, grace_seconds: float = PATIENCE) -> Any:
    """Run it; leaving stops it and waits for its end."""
    stop = asyncio.Event()
    task = asyncio.create_task(work.work(stop, grace_seconds=grace_seconds))
    try:
        yield task
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await task


async def test_it_asks_with_a_new_token_for_every_free_slot() -> None:
    desk, hands = Desk("a"), Hands()
    work = leased(desk, hands, slots=3)

    assert await work.fill() is False
    await hands.next()
    await work.fill()

    first, second = desk.claims
    assert (len(first), len(second)) == (3, 2)
    assert not set(first) & set(second)
    assert work.busy == 1


async def test_a_claim_whose_answer_was_lost_is_asked_again_with_the_same_tokens() -> None:
    desk, hands = Desk("a"), Hands()
    desk.claim_problems = [AWAY, AWAY]
    work = leased(desk, hands)

    for _ in range(4):
        await work.fill()

    lost, again, answered, later = desk.claims
    assert lost == again == answered
    assert not set(later) & set(lost)


async def test_work_that_is_given_twice_is_done_once() -> None:
    desk, hands = Desk(), Hands()

    async def claim(tokens: Sequence[str]) -> Sequence[tuple[str, str]]:
        return [(tokens[0], "a"), (tokens[0], "a")]

    work = LeasedWork(
        "work", slots=2, lease_of=lambda work: 60, claim=claim, renew=desk.renew, run=hands.run, wakeups=None
    )
    await work.fill()
    await hands.next()

    assert work.busy == 1
    assert hands.slots.empty()


async def test_a_freed_slot_is_filled_before_the_next_poll() -> None:
    desk, hands = Desk("a", "b", "c"), Hands()
    async with working(leased(desk, hands)):
        begun = [(await hands.next()).work, (await hands.next()).work]
        hands.may_end.set()
        begun.append((await hands.next()).work)

    assert begun == ["a", "b", "c"]


async def test_a_hint_brings_work_before_the_next_poll() -> None:
    desk, hands, hints = Desk(), Hands(), FakeHints()
    hands.may_end.set()
    async with working(leased(desk, hands, wakeups=hints)):
        assert await hints.waits.get() == 2
        desk.due = ["a"]
        await hints.given.put(1)
        assert (await hands.next()).work == "a"


async def test_work_is_found_without_any_hint() -> None:
    desk, hands, hints = Desk(), Hands(), FakeHints(hasty=True)
    hands.may_end.set()
    async with working(leased(desk, hands, wakeups=hints, poll_seconds=0.15)):
        await desk.wait_for_claims(1)
        desk.due = ["a"]
        assert (await hands.next()).work == "a"


async def test_a_broker_that_is_away_makes_nobody_ask_more_often() -> None:
    desk, hands, hints = Desk(), Hands(), FakeHints(hasty=True)
    async with working(leased(desk, hands, wakeups=hints)):
        for _ in range(50):
            await hints.waits.get()

        assert len(desk.claims) == 1


async def test_all_leases_are_renewed_in_one_call() -> None:
    desk, hands = Desk("a", "b"), Hands()
    hands.may_end.clear()
    async with working(leased(desk, hands, lease_of=lambda work: 0.03), grace_seconds=0):
        await hands.next()
        await hands.next()
        desk.renewals.clear()
        await desk.wait_for_renewals(2)

        assert all(sorted(one) == ["a", "b"] for one in desk.renewals)


async def test_the_shortest_lease_in_hand_sets_the_pace() -> None:
    desk, hands = Desk("long", "short"), Hands()
    leases = {"long": 3000.0, "short": 0.03}
    async with working(leased(desk, hands, lease_of=leases.__getitem__), grace_seconds=0):
        await hands.next()
        await hands.next()
        await desk.wait_for_renewals(3)


@pytest.mark.parametrize("outcome", [Renewal.LOST, Renewal.CANCELED])
async def test_whoever_lost_his_lease_is_told_and_not_renewed_again(outcome: Renewal) -> None:
    desk, hands = Desk("a", "b"), Hands()
    work = leased(desk, hands)
    await work.fill()
    lost, kept = await hands.next(), await hands.next()
    desk.outcomes = {lost.token: outcome}

    await work.renew()
    await work.renew()

    assert (lost.outcome, lost.is_held, lost.may_begin) == (outcome, False, False)
    assert (kept.outcome, kept.is_held, kept.may_begin) == (Renewal.RENEWED, True, True)
    assert desk.renewals == [["a", "b"], ["b"]]


async def test_work_can_ask_at_once_whether_its_lease_is_held() -> None:
    desk, hands = Desk("a"), Hands()
    work = leased(desk, hands)
    await work.fill()
    slot = await hands.next()
    desk.outcomes = {slot.token: Renewal.CANCELED}

    await slot.check()

    assert (slot.outcome, slot.is_held) == (Renewal.CANCELED, False)


async def test_a_renewal_that_nobody_answers_loses_nothing() -> None:
    desk, hands = Desk("a"), Hands()
    desk.renewal_problems = [AWAY]
    work = leased(desk, hands)
    await work.fill()
    slot = await hands.next()

    await work.renew()

    assert len(desk.renewals) == 1
    assert slot.may_begin


async def test_renewing_goes_on_after_a_failure_that_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    desk, hands = Desk("a"), Hands()
    desk.renewal_problems = [ValueError("an answer that makes no sense")]
    async with working(leased(desk, hands, lease_of=lambda work: 0.03), grace_seconds=0):
        await desk.wait_for_renewals(2)

    assert "work.renewals.failed" in caplog.messages


async def test_nothing_held_means_nothing_to_renew() -> None:
    desk = Desk()

    await leased(desk, Hands()).renew()

    assert desk.renewals == []


async def test_work_that_fails_frees_its_slot_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    desk, hands = Desk("broken", "a", "b"), Hands()
    async with working(leased(desk, hands)) as task:
        begun = {(await hands.next()).work for _ in range(3)}
        hands.may_end.set()
        assert not task.done()

    assert begun == {"broken", "a", "b"}
    assert hands.ended == ["a", "b"]
    assert "work.crashed" in caplog.messages


async def test_who_stops_claims_no_more_and_lets_work_in_hand_end() -> None:
    desk, hands = Desk("a"), Hands()
    async with working(leased(desk, hands)):
        slot = await hands.next()
        desk.due = ["b"]
        claims = len(desk.claims)
        asyncio.get_running_loop().call_later(0, _end_when_stopping, slot, hands)

    assert (slot.stopping.is_set(), slot.is_held, slot.may_begin) == (True, True, False)
    assert hands.ended == ["a"]
    assert desk.due == ["b"]
    assert len(desk.claims) == claims


def _end_when_stopping(slot: Slot[str], hands: Hands) -> None:
    if slot.stopping.is_set():
        hands.may_end.set()
    else:
        asyncio.get_running_loop().call_later(0.001, _end_when_stopping, slot, hands)


async def test_leases_are_renewed_until_the_last_work_ended() -> None:
    desk, hands = Desk("a"), Hands()
    stop = asyncio.Event()
    task = asyncio.create_task(leased(desk, hands, lease_of=lambda work: 0.03).work(stop, grace_seconds=PATIENCE))
    slot = await hands.next()
    stop.set()
    await slot.stopping.wait()
    seen = len(desk.renewals)
    await desk.wait_for_renewals(seen + 2)
    hands.may_end.set()
    await task

    assert hands.ended == ["a"]


async def test_work_that_outlasts_the_grace_is_canceled() -> None:
    desk, hands = Desk("a"), Hands()
    async with working(leased(desk, hands), grace_seconds=0):
        await hands.next()

    assert hands.canceled == ["a"]


async def test_a_draining_worker_claims_nothing_and_keeps_what_it_has() -> None:
    desk, hands = Desk("a", "b"), Hands()
    work = leased(desk, hands, slots=1)
    await work.fill()
    slot = await hands.next()
    work.draining = True
    hands.may_end.set()

    assert await work.fill() is False
    assert slot.may_begin
    assert len(desk.claims) == 1
