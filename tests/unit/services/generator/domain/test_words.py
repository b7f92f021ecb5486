"""Words of vendors are passed on as far as there is room, and never spoil what they are passed on in."""

from hypothesis import given
from hypothesis import strategies as st

from services.generator.domain.words import CUT, bounded

ANY = st.text(st.characters(exclude_categories=()), max_size=200)


@given(words=ANY, most=st.integers(len(CUT.encode()), 300))
def test_they_fit_are_whole_characters_and_say_when_they_are_cut(words: str, most: int) -> None:
    told = bounded(words, most)

    assert len(told.encode()) <= most
    assert "\0" not in told
    kept = told.removesuffix(CUT) if told.endswith(CUT) else told
    spoilt = words.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    assert spoilt.startswith(kept)
    assert told in (spoilt, kept + CUT)
    # No more is cut than has to be: the next character has up to four bytes.
    assert told == spoilt or len(told.encode()) > most - 4
