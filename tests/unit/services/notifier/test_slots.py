"""Slots of attempts: what endpoints that are slow or new, and attempts that overrun, leave to the others."""

import pytest

from services.notifier.domain.endpoints import SlotShare
from services.notifier.loops.slots import Slots

NORMAL, NEW, SLOW = SlotShare.NORMAL, SlotShare.NEW, SlotShare.SLOW


@pytest.mark.parametrize(("slots", "expected"), [(64, [48, 8, 8]), (16, [12, 2, 2]), (4, [2, 1, 1]), (1, [1, 1, 1])])
def test_each_share_has_its_slots(slots: int, expected: list[int]) -> None:
    assert [Slots(slots).free(share) for share in (NORMAL, NEW, SLOW)] == expected


def test_shares_do_not_take_each_others_slots() -> None:
    slots = Slots(16)
    for share in SlotShare:
        while slots.free(share):
            slots.take("acme", share)
        assert [slots.free(other) == 0 for other in SlotShare].count(True) == list(SlotShare).index(share) + 1
    assert slots.used == 16


def test_an_attempt_that_overruns_frees_its_slot_once() -> None:
    slots = Slots(4)
    held = [slots.take("acme", NORMAL) for _ in range(2)]
    assert slots.free(NORMAL) == 0
    assert slots.overrun(held[0])
    assert not slots.overrun(held[0])
    assert (slots.free(NORMAL), slots.used) == (1, 2)
    slots.give_back(held[0])
    assert (slots.free(NORMAL), slots.used) == (1, 1)
    slots.give_back(held[1])
    assert (slots.free(NORMAL), slots.used) == (2, 0)


@pytest.mark.parametrize(("share", "most"), [(NORMAL, 16), (NEW, 8), (SLOW, 0)])
def test_overruns_are_bounded_by_share(share: SlotShare, most: int) -> None:
    slots = Slots(16)
    overruns = 0
    while slots.overrun(slots.take("acme", share)):
        overruns += 1
    assert overruns == most
    assert slots.used == most + 1


def test_a_tenant_with_a_quarter_of_a_share_lets_others_go_first() -> None:
    slots = Slots(128)
    held = [slots.take("acme", SLOW) for _ in range(4)]
    slots.take("other", SLOW)
    assert (slots.crowded(SLOW), slots.crowded(NEW)) == (["acme"], [])
    slots.give_back(held[0])
    assert slots.crowded(SLOW) == []


def test_nobody_is_crowded_among_endpoints_that_work() -> None:
    slots = Slots(16)
    for _ in range(12):
        slots.take("acme", NORMAL)
    assert slots.crowded(NORMAL) == []


def test_an_attempt_that_overran_does_not_crowd() -> None:
    slots = Slots(16)
    held = slots.take("acme", NEW)
    assert slots.crowded(NEW) == ["acme"]
    slots.overrun(held)
    assert slots.crowded(NEW) == []
    slots.give_back(held)
