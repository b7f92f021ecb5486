import pytest
from starlette.requests import Request

from gateway.requests.headers import idempotency_key, matches_etag, parse_sequence, wait_seconds


def _request(*headers: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ("wait=10", 10),
        ("wait=60", 60),
        ("wait=61", 60),
        ("wait=999999", 60),
        ("respond-async, wait=5", 5),
        ("Wait=5; x=y", 5),
        ('wait="5"', 5),
        ("wait = 5", 5),
        ("wait=0", None),
        ("wait", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=9999999", None),
        ("wait=x", None),
        ("waiting=5", None),
        ("", None),
    ],
)
def test_a_wait_is_read_from_the_preferences(sent: str, seconds: int | None) -> None:
    assert wait_seconds(_request(("Prefer", sent))) == seconds


def test_preferences_may_stand_in_several_headers() -> None:
    assert wait_seconds(_request(("Prefer", "respond-async"), ("Prefer", "wait=3"))) == 3


@pytest.mark.parametrize(
    ("sent", "known"),
    [('W/"7"', True), ('"7"', True), ('W/"6", W/"7"', True), ("*", True), ('W/"70"', False), ("7", False), ("", False)],
)
def test_tags_are_compared_weakly(sent: str, known: bool) -> None:
    assert matches_etag(_request(("If-None-Match", sent)), 7) is known


@pytest.mark.parametrize(("sent", "sequence"), [("0", 0), ("17", 17), ("9" * 18, int("9" * 18))])
def test_a_sequence_is_read(sent: str, sequence: int) -> None:
    assert parse_sequence(sent) == sequence


@pytest.mark.parametrize("sent", ["", "-1", "+1", "1.0", "x", "٣", "9" * 19, "1 2", "NaN"])
def test_what_is_no_sequence_is_none(sent: str) -> None:
    assert parse_sequence(sent) is None


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (" abc ", "abc"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('a"b', 'a"b'),
        ("~" * 255, "~" * 255),
    ],
)
def test_a_key_is_the_same_quoted_or_bare(sent: str, key: str) -> None:
    assert idempotency_key(_request(("Idempotency-Key", sent))) == key


def test_without_a_key_every_request_gets_its_own() -> None:
    assert idempotency_key(_request()) != idempotency_key(_request())
