"""`calotype providers check --live`: is the vendor where the entry says, and does it take the key?"""

import httpx
import pytest

from services.generator.adapters.providers.check import LiveCheck, check_live
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.kinds import ProviderFile
from tests.support.providers.http_transport import HandlerTransport

KEY = "key-of-the-provider"
MODELS = {"replicate": "owner/name", "stability": "core"}


def entry_of(kind: str, **more: object) -> RemoteEntry:
    """An entry at an address of its own."""
    told = {
        "name": "paid",
        "kind": kind,
        "base_url": "https://api.test/v1",
        "api_key_env": "KEY",
        "models": [{"name": MODELS.get(kind, "m")}],
    }
    [entry] = ProviderFile.model_validate({"providers": [told | more]}).providers
    assert isinstance(entry, RemoteEntry)
    return entry


async def found_by(kind: str, answer: httpx.Response) -> tuple[LiveCheck, str, list[httpx.Request]]:
    """What a look came to, and what was asked."""
    asked: list[httpx.Request] = []

    def told(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer

    found, words = await check_live(entry_of(kind), environ={"KEY": KEY}, transport=HandlerTransport(told))
    return found, words, asked


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("openai", "https://api.test/v1/models"),
        ("gemini", "https://api.test/v1/models"),
        ("replicate", "https://api.test/v1/account"),
        ("bfl", "https://api.test/v1/credits"),
        ("stability", "https://api.test/v1/user/balance"),
    ],
)
async def test_a_vendor_is_asked_once_what_costs_nothing_with_the_key(kind: str, url: str) -> None:
    found, words, asked = await found_by(kind, httpx.Response(200, json={"data": []}))

    assert (found, words) == (LiveCheck.PASSED, "reachable, and the key is accepted")
    assert [(one.method, str(one.url)) for one in asked] == [("GET", url)]
    assert any(KEY in value for value in asked[0].headers.values())


@pytest.mark.parametrize(
    ("answer", "found", "told"),
    [
        (httpx.Response(401, json={"error": "no"}), LiveCheck.FAILED, "the key is refused"),
        (httpx.Response(404, text="no such page"), LiveCheck.FAILED, "check that base_url is the API's address"),
        (httpx.Response(405), LiveCheck.FAILED, "check that base_url is the API's address"),
        (httpx.Response(200, html="<html>Hello</html>"), LiveCheck.FAILED, "and no JSON"),
        (
            httpx.Response(308, headers={"location": "https://api.test/v2"}),
            LiveCheck.FAILED,
            "redirect to https://api.test/v2",
        ),
        (httpx.Response(400, json={"error": {"status": "INVALID_ARGUMENT"}}), LiveCheck.FAILED, "check the key"),
        (httpx.Response(503), LiveCheck.INCONCLUSIVE, "try again later"),
        (httpx.Response(429), LiveCheck.PASSED, "the key is accepted"),
    ],
)
async def test_what_is_wrong_is_told_with_what_to_do(answer: httpx.Response, found: LiveCheck, told: str) -> None:
    came_to, words, _ = await found_by("openai", answer)

    assert came_to is found
    assert told in words
    assert KEY not in words


async def test_who_cannot_be_reached_is_not_said_to_be_wrong() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    found, words = await check_live(entry_of("openai"), environ={"KEY": KEY}, transport=HandlerTransport(away))

    assert found is LiveCheck.INCONCLUSIVE
    assert "https://api.test/v1/models cannot be reached" in words


async def test_a_vendor_without_a_free_question_is_not_asked() -> None:
    found, words, asked = await found_by("fal", httpx.Response(200))

    assert (found, asked) == (LiveCheck.INCONCLUSIVE, [])
    assert "not checked" in words
