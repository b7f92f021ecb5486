"""Retry-After, as any server may write it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.network import retry_after

NOW = "Mon, 01 Jan 2029 00:00:00 GMT"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("12", 12),
        (" 0.5 ", 0.5),
        ("-3", 0),
        ("Mon, 01 Jan 2029 00:01:00 GMT", 60),
        ("Mon, 01 Jan 2029 00:01:00", 60),
        ("Sun, 31 Dec 2028 23:59:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("9" * 400, None),
        ("Mon, 31 Feb 2029 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2029 00:00:00 +99999999999999999999", None),
        ("\x00", None),
    ],
)
def test_a_number_or_a_date_and_nothing_else(written: str, seconds: float | None) -> None:
    assert retry_after.seconds({"retry-after": written, "date": NOW}) == seconds


@pytest.mark.parametrize("date", ["", "x", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_without_a_date_of_the_server_our_clock_counts(date: str) -> None:
    seconds = retry_after.seconds({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT", "date": date})

    assert seconds == 0


@given(st.text(max_size=100), st.text(max_size=100))
def test_no_text_is_an_error(written: str, date: str) -> None:
    seconds = retry_after.seconds({"retry-after": written, "date": date})

    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
