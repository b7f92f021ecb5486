"""Reading a few jobs of each tenant gives the same choice as reading them all."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from services.job.domain.turns import depths_of_turns

LOADS = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.tuples(st.integers(0, 9), st.integers(0, 12)))


def choose(tenants: dict[str, tuple[int, int]], depths: dict[str, int], count: int) -> list[int]:
    """The turns of the jobs that are chosen, if each tenant has as many jobs as are read."""
    turns = [
        turn
        for tenant, (in_flight, most) in tenants.items()
        for turn in range(in_flight + 1, min(in_flight + depths[tenant], most) + 1)
    ]
    return list(islice(sorted(turns), count))


@given(LOADS, st.integers(1, 20))
def test_the_lowest_turns_are_read(tenants: dict[str, tuple[int, int]], wanted: int) -> None:
    depths = depths_of_turns(tenants, wanted=wanted)

    assert choose(tenants, depths, wanted) == choose(tenants, dict.fromkeys(tenants, wanted), wanted)


def test_no_more_is_read_than_a_share_of_each() -> None:
    assert depths_of_turns({"a": (0, 100), "b": (2, 100), "c": (9, 100)}, wanted=4) == {"a": 3, "b": 1, "c": 0}
    assert depths_of_turns({"a": (0, 1), "b": (5, 5)}, wanted=4) == {"a": 1, "b": 0}


def test_a_tenant_at_its_limit_leaves_its_share_to_the_others() -> None:
    assert depths_of_turns({"a": (0, 0), "b": (1, 2)}, wanted=1) == {"a": 0, "b": 1}
    assert depths_of_turns({"a": (0, 1), "b": (5, 100)}, wanted=4) == {"a": 1, "b": 3}
