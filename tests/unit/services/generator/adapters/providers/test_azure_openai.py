"""The provider kind `azure_openai`: credentials that change while it runs."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.config import ConfigError
from services.generator.adapters.providers.azure_openai import identity
from services.generator.adapters.providers.azure_openai.entry import AzureOpenAIEntry
from services.generator.adapters.providers.azure_openai.provider import AzureOpenAIProvider
from services.generator.adapters.providers.check import LiveCheck, check_live
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.domain import untrusted_text
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, Generated, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport
from tests.support.providers.scripted_http import ScriptedResponse, scripted_server

BASE = "https://pictures.openai.azure.com/openai/v1"
ORDER = ProviderRequest(
    call_id="c", idempotency_key="c", model="pictures", count=1, request=Request(prompt="a harbour")
)
GOOD = httpx.Response(200, json={"data": [{"b64_json": "MA=="}]})
DENIED = httpx.Response(401, json={"error": {"code": "401", "message": "Access denied."}})


def entry(**told: Any) -> AzureOpenAIEntry:
    """An entry, as the provider file says it."""
    one = {"name": "azure", "kind": "azure_openai", "base_url": BASE, "models": [{"name": "pictures"}]} | told
    [read] = ProviderFile.model_validate({"providers": [one]}).providers
    assert isinstance(read, AzureOpenAIEntry)
    return read


@dataclass(kw_only=True)
class Resource:
    """Takes one secret after the other: each answer but the last says no."""

    answers: list[httpx.Response]
    requests: list[httpx.Request] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        self.requests.append(request)
        self.meanwhile()
        return self.answers.pop(0)

    def sent(self, header: str) -> list[str]:
        """What came as the header of each request."""
        return [request.headers.get(header, "") for request in self.requests]


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token as azure-identity gives it."""

    token: str


class Tokens:
    """Gives tokens of a list; what was given is kept, as azure-identity keeps it."""

    def __init__(self, tokens: Iterator[str]) -> None:
        self.scopes: list[tuple[str, ...]] = []
        self._tokens = tokens
        self._kept: str | None = None

    def get_token(self, *scopes: str) -> Token:
        """The token that is kept."""
        self.scopes.append(scopes)
        self._kept = self._kept or next(self._tokens)
        return Token(token=self._kept)


async def ask(provider: AzureOpenAIProvider) -> Generated:
    """One call."""
    made = await provider.submit(ORDER)
    assert isinstance(made, Generated)
    return made


async def test_a_token_that_was_renewed_in_its_file_is_used_by_the_next_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token-of-the-morning\n", encoding="utf-8")
    resource = Resource(answers=[GOOD, GOOD])
    told = entry(api_key_file=str(file), settings={"auth": "token"})
    provider = AzureOpenAIProvider(told, api_key=told.api_key({}), transport=HandlerTransport(resource))
    await ask(provider)
    file.write_text("token-of-the-evening\n", encoding="utf-8")
    await ask(provider)
    await provider.close()

    assert resource.sent("authorization") == ["Bearer token-of-the-morning", "Bearer token-of-the-evening"]
    assert resource.sent("api-key") == ["", ""]


async def test_a_live_check_shows_the_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token-of-the-morning", encoding="utf-8")
    resource = Resource(answers=[httpx.Response(200, json={"data": []})])
    told = entry(api_key_file=str(file), settings={"auth": "token"})

    found, _ = await check_live(told, environ={}, transport=HandlerTransport(resource))

    assert found is LiveCheck.PASSED
    assert resource.sent("authorization") == ["Bearer token-of-the-morning"]


async def test_a_refusal_while_the_token_is_renewed_is_asked_again_with_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token-of-the-morning", encoding="utf-8")

    def renew() -> None:
        file.write_text("token-of-the-evening", encoding="utf-8")

    resource = Resource(answers=[DENIED, GOOD], meanwhile=renew)
    told = entry(api_key_file=str(file), settings={"auth": "token"})
    provider = AzureOpenAIProvider(told, api_key=told.api_key({}), transport=HandlerTransport(resource))
    await ask(provider)
    await provider.close()

    assert resource.sent("authorization") == ["Bearer token-of-the-morning", "Bearer token-of-the-evening"]


async def test_a_key_that_is_refused_and_was_not_renewed_is_not_sent_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("key-that-is-wrong", encoding="utf-8")
    resource = Resource(answers=[DENIED])
    told = entry(api_key_file=str(file))
    provider = AzureOpenAIProvider(told, api_key=told.api_key({}), transport=HandlerTransport(resource))
    with pytest.raises(ProviderError) as error:
        await ask(provider)
    await provider.close()

    assert (error.value.reason, error.value.acceptance) == ("PROVIDER_AUTH", Acceptance.NOT_ACCEPTED)
    assert resource.sent("api-key") == ["key-that-is-wrong"]


async def test_a_file_that_is_just_being_written_costs_no_job(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("key-until-now", encoding="utf-8")
    resource = Resource(answers=[GOOD, GOOD])
    told = entry(api_key_file=str(file))
    provider = AzureOpenAIProvider(told, api_key=told.api_key({}), transport=HandlerTransport(resource))
    file.write_text("", encoding="utf-8")
    await ask(provider)
    file.unlink()
    await ask(provider)
    await provider.close()

    assert resource.sent("api-key") == ["key-until-now", "key-until-now"]


async def test_tokens_of_an_identity_are_asked_for_the_scope_and_asked_anew_when_one_is_refused() -> None:
    made: list[Tokens] = []

    def source() -> Tokens:
        made.append(Tokens(iter([f"token-number-{len(made) + 1}"])))
        return made[-1]

    resource = Resource(answers=[GOOD, DENIED, GOOD])
    told = entry(settings={"auth": "identity", "scope": "https://ai.azure.com/.default"})
    provider = AzureOpenAIProvider(told, api_key="", transport=HandlerTransport(resource), identity=source)
    await ask(provider)
    await ask(provider)
    await provider.close()

    assert resource.sent("authorization") == [
        "Bearer token-number-1", "Bearer token-number-1", "Bearer token-number-2",
    ]  # fmt: skip
    assert {scopes for one in made for scopes in one.scopes} == {("https://ai.azure.com/.default",)}


async def test_a_managed_identity_of_azure_gives_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"access_token": "token-of-the-machine", "expires_on": "4102444800", "token_type": "Bearer"}
    resource = Resource(answers=[GOOD])
    async with scripted_server() as machine:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{machine.url}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "proof")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        query = "?api-version=2019-08-01&resource=https://cognitiveservices.azure.com"
        machine.expect("GET", f"/token{query}", ScriptedResponse(body=body), headers={"X-IDENTITY-HEADER": "proof"})
        provider = AzureOpenAIProvider(
            entry(settings={"auth": "identity"}), api_key="", transport=HandlerTransport(resource)
        )
        await ask(provider)
        await provider.close()

    assert resource.sent("authorization") == ["Bearer token-of-the-machine"]


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        ("ClientAuthenticationError", "AUTH_ERROR", "PROVIDER_AUTH"),
        ("ServiceRequestError", "TEMPORARY", "PROVIDER_UNAVAILABLE"),
    ],
)
async def test_an_identity_that_gives_no_token_sends_nothing(failure: str, code: str, reason: str) -> None:
    kind = getattr(importlib.import_module("azure.core.exceptions"), failure)

    class Refusing:
        def get_token(self, *scopes: str) -> Any:
            raise kind("AADSTS700016: there is no such application")

    resource = Resource(answers=[])
    told = entry(settings={"auth": "identity"})
    provider = AzureOpenAIProvider(told, api_key="", transport=HandlerTransport(resource), identity=Refusing)
    with pytest.raises(ProviderError) as error:
        await ask(provider)
    await provider.close()

    assert (error.value.code, error.value.reason) == (code, reason)
    assert error.value.acceptance is Acceptance.NOT_ACCEPTED
    assert "AADSTS700016" in error.value.vendor.message
    assert resource.requests == []


async def test_tokens_are_in_no_text_and_those_of_yesterday_take_no_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token-number-0", encoding="utf-8")
    told = entry(api_key_file=str(file), settings={"auth": "token"})
    resource = Resource(answers=[GOOD] * 4)
    provider = AzureOpenAIProvider(told, api_key=told.api_key({}), transport=HandlerTransport(resource))
    for number in range(4):
        file.write_text(f"token-number-{number}", encoding="utf-8")
        await ask(provider)
    await provider.close()

    assert untrusted_text.clean("token-number-3 token-number-2", 100) == "*** ***"
    assert untrusted_text.clean("token-number-1", 100) == "token-number-1"


@contextmanager
def _is_refused(message: str) -> Iterator[None]:
    with pytest.raises(ValueError, match=message):
        yield


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"base_url": None}, "base_url is required"),
        ({"base_url": "https://r.openai.azure.com/openai/deployments/d"}, "must end in /openai/v1"),
        ({"base_url": "https://r.services.ai.azure.com"}, "must end in /openai/v1"),
        ({"settings": {"auth": "token"}, "api_key_env": "TOKEN"}, "token needs api_key_file"),
        ({"settings": {"auth": "identity"}, "api_key_env": "KEY"}, "identity excludes api_key_env"),
    ],
)
def test_an_entry_that_could_not_work_is_refused(told: dict[str, Any], message: str) -> None:
    with _is_refused(message):
        entry(**told)


def test_an_address_behind_a_gateway_of_ones_own_may_be_any() -> None:
    assert entry(base_url="https://gateway.test/pictures").base_url == "https://gateway.test/pictures"


def test_an_identity_without_the_extra_is_told_when_the_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'calotype\[azure\]'"):
        AzureOpenAIProvider(entry(settings={"auth": "identity"}), api_key="")
