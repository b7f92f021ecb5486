"""Slots of attempts: what slow endpoints, and attempts that overrun, leave to the others."""

from services.notifier.loops.slots import Slots


def test_a_quarter_is_for_slow_endpoints() -> None:
    slots = Slots(64)
    assert (slots.free(is_slow=False), slots.free(is_slow=True)) == (48, 16)


def test_slow_and_normal_attempts_do_not_take_each_others_slots() -> None:
    slots = Slots(8)
    for _ in range(2):
        slots.take("acme", is_slow=True)
    assert (slots.free(is_slow=True), slots.free(is_slow=False)) == (0, 6)
    for _ in range(6):
        slots.take("acme", is_slow=False)
    assert (slots.free(is_slow=True), slots.free(is_slow=False), slots.used) == (0, 0, 8)


def test_an_attempt_that_overruns_frees_its_slot_once() -> None:
    slots = Slots(4)
    held = [slots.take("acme", is_slow=False) for _ in range(3)]
    assert slots.free(is_slow=False) == 0
    assert slots.overrun(held[0])
    assert not slots.overrun(held[0])
    assert (slots.free(is_slow=False), slots.used) == (1, 3)
    slots.give_back(held[0])
    assert (slots.free(is_slow=False), slots.used) == (1, 2)


def test_a_slow_attempt_does_not_overrun() -> None:
    slots = Slots(4)
    held = slots.take("acme", is_slow=True)
    assert not slots.overrun(held)
    assert slots.free(is_slow=True) == 0


def test_overruns_are_bounded() -> None:
    slots = Slots(4)
    for _ in range(4):
        assert slots.overrun(slots.take("acme", is_slow=False))
    assert slots.free(is_slow=False) == 3
    for _ in range(3):
        slots.overrun(slots.take("acme", is_slow=False))
    assert (slots.free(is_slow=False), slots.used) == (0, 7)


def test_a_tenant_with_a_quarter_of_the_slow_slots_lets_others_go_first() -> None:
    slots = Slots(64)
    held = [slots.take("acme", is_slow=True) for _ in range(4)]
    slots.take("other", is_slow=True)
    assert slots.crowded() == ["acme"]
    slots.give_back(held[0])
    assert slots.crowded() == []
    for _ in range(4):
        slots.take("acme", is_slow=False)
    assert slots.crowded() == []
