"""Words of vendors are kept as far as there is room, and never spoil what they are kept in."""

from collections.abc import Iterator

import pytest
from calotype.error_reasons import Code, Reason
from hypothesis import given
from hypothesis import strategies as st

from services.generator.domain import untrusted_text
from services.generator.domain.provider_results import ImageSource, StageError, VendorError
from services.generator.domain.untrusted_text import CUT, clean, is_name, of_bytes

ANY = st.text(st.characters(exclude_categories=()), max_size=200)
FOREIGN = "a\0b\ud83dc\x1b[31md\x9f"


@pytest.fixture
def secret() -> Iterator[str]:
    """A credential of this process."""
    untrusted_text.register_secret("a-long-secret")
    yield "a-long-secret"
    untrusted_text._SECRETS.discard("a-long-secret")


@given(text=ANY, most=st.integers(len(CUT.encode()), 300))
def test_they_fit_are_whole_characters_and_say_when_they_are_cut(text: str, most: int) -> None:
    told = clean(text, most)

    assert len(told.encode()) <= most
    assert not set(told) & {"\0", "\x1b", "\x7f", "\x9f"}
    whole = clean(text, 10_000)
    kept = told.removesuffix(CUT) if told.endswith(CUT) else told
    assert whole.startswith(kept)
    assert told in (whole, kept + CUT)
    # No more is cut than has to be: the next character has up to four bytes.
    assert told == whole or len(told.encode()) > most - 4
    # What is clean stays as it is.
    assert clean(told, most) == told


def test_what_enters_the_domain_can_be_stored_and_sent() -> None:
    vendor = VendorError(code=FOREIGN, message=FOREIGN, request_id=FOREIGN)
    error = StageError(code=Code.UNKNOWN, reason=Reason.UNCLASSIFIED, message=FOREIGN, retryable=False)
    revised = ImageSource(url="https://x/1.png", revised_prompt=FOREIGN).revised_prompt

    for text in (vendor.code, vendor.message, vendor.request_id, error.message, revised):
        assert text == "a\ufffdb\ufffdc\ufffd[31md\ufffd"
    assert len(VendorError(message="ü" * 10_000).message.encode()) <= untrusted_text.MESSAGE


def test_a_secret_is_in_nothing_that_is_kept(secret: str) -> None:
    vendor = VendorError(message=f"Bearer {secret} is not known", code=secret)

    assert vendor.message == "Bearer *** is not known"
    assert vendor.code == "***"
    # Also where it would be cut in two.
    assert "a-long" not in VendorError(message="x" * (untrusted_text.MESSAGE - 8) + secret).message


def test_a_dummy_key_is_no_secret() -> None:
    untrusted_text.register_secret("none")

    assert clean("none of it", 100) == "none of it"


@pytest.mark.parametrize("body", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(40), b"\x1f\x8b\x08\0\0\0\0\0", bytes(9)])
def test_what_is_not_text_is_told_by_its_beginning(body: bytes) -> None:
    assert of_bytes(body, 2000) == f"{len(body)} bytes that are not text, beginning with {body[:16].hex(' ')}"


def test_a_body_of_text_is_told_as_it_is() -> None:
    assert of_bytes("übermut\nand more".encode(), 2000) == "übermut\nand more"
    assert of_bytes(b"", 2000) == ""
    # Half a character at the end of what is looked at is no reason to call it binary.
    assert of_bytes("ü".encode() * 10_000, 100).endswith(CUT)


@pytest.mark.parametrize("text", ["", "\0", "a\nb", "\ud83d", "x" * 5000, None, 5])
def test_what_cannot_be_kept_whole_is_no_name(text: object) -> None:
    assert not is_name(text)
