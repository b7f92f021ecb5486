"""The live check of an entry: one free request shows whether the address is right and the key is accepted."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import httpx

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.factory import remote_provider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain import foreign_text
from services.generator.domain.provider_results import ProviderError

#: Out of credit, or too many requests: the account was recognized by its key.
_KEY_ACCEPTED = frozenset({402, 429})


class Found(Enum):
    """The result of a live check."""

    WELL = auto()
    """The API accepts the key."""
    WRONG = auto()
    """The address or the key is wrong."""
    UNSEEN = auto()
    """Unknown: the API cannot be reached, or has no request that is free."""


async def look(
    entry: RemoteEntry, *, environ: Mapping[str, str], transport: httpx.AsyncBaseTransport | None = None
) -> tuple[Found, str]:
    """Returns the result and a message for the operator. Raises `ConfigError` if the key is not set."""
    provider = remote_provider(entry, environ=environ, transport=transport)
    if provider.check_path is None:
        await provider.close()
        return Found.UNSEEN, f"{entry.kind} has no free request; its address and key are not checked."
    url = httpx.URL(f"{provider.base_url}/").join(provider.check_path)
    try:
        response = await provider.send_check(str(url))
    except ProviderError as error:
        return Found.UNSEEN, f"{url} cannot be reached ({error.message})"
    finally:
        await provider.close()
    return _result(response, str(url))


def _result(response: ProviderResponse, url: str) -> tuple[Found, str]:
    status = response.status_code
    returned = f"GET {url} returned status {status}"
    if status in (401, 403):
        return Found.WRONG, f"{returned}: the key is refused."
    if 300 <= status < 400:
        target = foreign_text.clean(response.headers.get("location", "another address"), 300)
        return Found.WRONG, f"{returned}, a redirect to {target}. Redirects are not followed; write the final address."
    if status in (404, 405, 410, 501):
        return Found.WRONG, f"{returned}: check that base_url is the API's address."
    if status >= 500:
        return Found.UNSEEN, f"{returned}: the server cannot handle requests now; try again later."
    if status >= 400 and status not in _KEY_ACCEPTED:
        # Google refuses a wrong key with 400.
        return Found.WRONG, f"{returned}: check the key and base_url."
    if status < 300 and not _is_data(response.json()):
        return Found.WRONG, f"{returned} and no JSON: check that base_url is the API's address."
    return Found.WELL, "reachable, and the key is accepted"


def _is_data(content: Any) -> bool:
    return isinstance(content, dict | list)
