"""Words in the client's language."""

import httpx
import pytest

from gateway import locales
from gateway.ui_states import STATES


@pytest.mark.parametrize(
    ("accepted", "locale"),
    [
        ("", "en"),
        ("en-XA", "en-XA"),
        ("EN-xa", "en-XA"),
        ("en-XA-variant", "en-XA"),
        ("en-GB, en-XA;q=0.9", "en"),
        ("fr-CA, en-XA;q=0.4, de;q=0.8", "en-XA"),
        ("en;q=0.5, en-XA", "en-XA"),
        ("en-XA;q=0", "en"),
        ("de, *", "en"),
        ("en-XA;q=2, \x00, ;;;,,", "en"),
        ("fr," * 1_000 + "en-XA", "en"),
        ("a" * 100_000, "en"),
    ],
)
def test_the_language_that_is_liked_best_is_chosen(accepted: str, locale: str) -> None:
    assert locales.choose(accepted) == locale


def test_every_language_has_words_for_every_state_and_nothing_else() -> None:
    for locale, words in locales._WORDS.items():
        assert set(words) == {state.key for state in STATES}, locale


def test_another_language_changes_words_alone() -> None:
    for state, translated in zip(STATES, locales.states(locales.TEST), strict=True):
        assert translated.title != state.title
        assert translated.message != state.message
        assert translated.model_copy(update={"title": state.title, "message": state.message}) == state


async def test_a_client_is_told_in_its_language(client: httpx.AsyncClient) -> None:
    asked = {"Accept-Language": "en-XA"}
    created = await client.post("/v1/jobs", json={"prompt": "a"}, headers=asked)
    listed = (await client.get("/v1/jobs", headers=asked)).json()["jobs"]
    states = (await client.get("/v1/ui-states", headers=asked)).json()["states"]

    assert created.headers["content-language"] == "en-XA"
    assert "Accept-Language" in created.headers["vary"]
    for told in (created.json()["display"], *(job["display"] for job in listed), *states):
        assert (told["title"][0], told["message"][-1]) == ("[", "]")


async def test_a_client_that_asks_for_nothing_is_told_in_english(client: httpx.AsyncClient) -> None:
    created = await client.post("/v1/jobs", json={"prompt": "a"})

    assert created.headers["content-language"] == "en"
    assert created.json()["display"]["title"] == "In the queue"
