"""A step of one of two clocks is noticed, in either direction; that both go on, however unevenly, is not one."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as some

from services.job.domain.clocks import ClockWatch

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOLERANCE, WINDOW = 10.0, 30.0
#: Seconds between two looks, and those that an answer is on its way, there and back.
Look = tuple[float, float, float]
LOOKS = some.lists(some.tuples(some.floats(0.01, 20), some.floats(0, 3), some.floats(0, 3)), min_size=1, max_size=12)


def told(watch: ClockWatch, looks: list[Look], *, start: float = 0.0, ahead: float = 0.0) -> tuple[list[bool], float]:
    """What is said of looks at a clock that is ahead, and when the last of them was over."""
    said, now = [], start
    for pause, there, back in looks:
        queried_at = now + pause
        now = queried_at + there + back
        shown = BEGIN + timedelta(seconds=queried_at + there + ahead)
        said.append(watch.has_stepped(shown, queried_at=queried_at, received_at=now))
    return said, now


def new() -> ClockWatch:
    """One that has seen nothing."""
    return ClockWatch(tolerance=TOLERANCE, window=WINDOW)


@given(LOOKS)
def test_clocks_that_go_alike_have_not_stepped_however_long_answers_take(looks: list[Look]) -> None:
    assert not any(told(new(), looks)[0])


@given(LOOKS, some.floats(TOLERANCE + 7, 1e6), some.sampled_from([1, -1]), LOOKS)
def test_a_step_is_told_once_and_at_the_first_look_after_it(
    before: list[Look], size: float, way: int, after: list[Look]
) -> None:
    watch = new()
    _, now = told(watch, before)
    said, _ = told(watch, after, start=now, ahead=way * size)

    assert said == [True, *[False] * (len(after) - 1)]


@given(some.floats(-TOLERANCE, TOLERANCE), some.lists(some.floats(0.01, 5), min_size=1, max_size=8))
def test_a_small_step_is_none(size: float, pauses: list[float]) -> None:
    watch = new()
    _, now = told(watch, [(1.0, 0.0, 0.0)])

    assert not any(told(watch, [(pause, 0.0, 0.0) for pause in pauses], start=now, ahead=size * 0.99)[0])


def test_small_steps_that_add_up_within_the_time_of_a_lease_are_one() -> None:
    watch = new()
    said = [told(watch, [(5.0, 0.0, 0.0)], start=5.0 * at, ahead=4.0 * at)[0][0] for at in range(4)]

    assert said == [False, False, False, True]


def test_a_clock_that_goes_a_little_fast_never_steps() -> None:
    watch = new()
    said = [told(watch, [(5.0, 0.0, 0.0)], start=5.0 * at, ahead=0.01 * at)[0][0] for at in range(5000)]

    assert not any(said)
