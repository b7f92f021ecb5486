"""Ids: one for each thing, in the order of their making."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest

from common.ids import new_uuid7, parse, prefixed

MANY = 20_000

SOME = UUID("0193a6b0-c1d2-7e6f-8a9b-0c1d2e3f4a5b")


def test_later_ids_are_larger_even_within_a_millisecond() -> None:
    made = [new_uuid7() for _ in range(MANY)]

    assert made == sorted(made)
    assert len({one.int >> 80 for one in made}) < MANY, "the machine is too slow for two ids in a millisecond"


def test_no_two_are_alike_whoever_makes_them() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = [
            one for some in threads.map(lambda _: [new_uuid7() for _ in range(MANY // 8)], range(8)) for one in some
        ]

    assert len(set(made)) == len(made) == MANY


def test_they_are_of_version_seven_and_begin_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_uuid7()
    after = time.time_ns() // 1_000_000

    assert (type(made), made.version, made.variant) == (UUID, 7, RFC_4122)
    assert before <= made.int >> 80 <= after


def test_an_id_says_what_it_names_and_is_read_back() -> None:
    value = UUID("01890000-0000-7000-8000-00000000abcd")

    assert prefixed("job", value) == "job_0189000000007000800000000000abcd"
    assert parse("job", prefixed("job", value)) == value


def test_written_ids_are_in_order_too() -> None:
    written = [prefixed("call", new_uuid7()) for _ in range(1000)]

    assert written == sorted(written)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "job",
        "job_",
        SOME.hex,
        f"call_{SOME.hex}",
        f"job_{SOME}",
        f"job_{SOME.hex}0",
        f"job_{SOME.hex[1:]}",
        f"job_{'g' * 32}",
        f"_job_{SOME.hex}",
        f"job__{SOME.hex[1:]}",
        f"JOB_{SOME.hex}",
    ],
)
def test_what_is_no_id_of_that_kind_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        parse("job", written)
