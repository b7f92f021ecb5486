"""Which names objects may have, and where the names that begin alike end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.stack.object_store.names import InvalidName, prefix_end, valid_name

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(TEXT, TEXT)
def test_the_end_of_a_prefix_lies_right_behind_all_that_begin_so(prefix: str, name: str) -> None:
    end = prefix_end(prefix)
    is_before = end is None or name.encode() < end.encode()

    assert name.startswith(prefix) == (name.encode() >= prefix.encode() and is_before)
    assert end is None or (prefix + name).encode() < end.encode()


@pytest.mark.parametrize(("prefix", "end"), [("", None), ("a/", "a0"), ("\ud7ff", "\ue000"), ("\U0010ffff", None)])
def test_ends(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


@given(st.text(max_size=12))
def test_a_name_has_no_part_that_leads_elsewhere(name: str) -> None:
    try:
        found = valid_name(name)
    except InvalidName:
        return
    assert found == name
    assert not {"", ".", ".."} & {*name.split("/")}
    assert not {"\\", "%", "\0"} & {*name}
