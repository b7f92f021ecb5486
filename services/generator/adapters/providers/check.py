"""The live check of an entry: one free request shows whether the address is right and the key is accepted."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import httpx

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.factory import remote_provider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain import untrusted_text
from services.generator.domain.provider_results import ProviderError

#: Out of credit, or too many requests: the account was recognized by its key.
_KEY_ACCEPTED = frozenset({402, 429})


class LiveCheck(Enum):
    """The result of a live check."""

    PASSED = auto()
    """The API accepts the key."""
    FAILED = auto()
    """The address or the key is wrong."""
    INCONCLUSIVE = auto()
    """Unknown: the API cannot be reached, or has no request that is free."""


async def check_live(
    entry: RemoteEntry, *, environ: Mapping[str, str], transport: httpx.AsyncBaseTransport | None = None
) -> tuple[LiveCheck, str]:
    """Returns the result and a message for the operator. Raises `ConfigError` if the key is not set."""
    provider = remote_provider(entry, environ=environ, transport=transport)
    if provider.check_path is None:
        await provider.close()
        return LiveCheck.INCONCLUSIVE, f"{entry.kind} has no free request; its address and key are not checked."
    url = httpx.URL(f"{provider.base_url}/").join(provider.check_path)
    try:
        response = await provider.send_check(str(url))
    except ProviderError as error:
        return LiveCheck.INCONCLUSIVE, f"{url} cannot be reached ({error.message})"
    finally:
        await provider.close()
    return _result(response, str(url))


def _result(response: ProviderResponse, url: str) -> tuple[LiveCheck, str]:
    status = response.status_code
    returned = f"GET {url} returned status {status}"
    if status in (401, 403):
        return LiveCheck.FAILED, f"{returned}: the key is refused."
    if 300 <= status < 400:
        target = untrusted_text.clean(response.headers.get("location", "another address"), 300)
        return (
            LiveCheck.FAILED,
            f"{returned}, a redirect to {target}. Redirects are not followed; write the final address.",
        )
    if status in (404, 405, 410, 501):
        return LiveCheck.FAILED, f"{returned}: check that base_url is the API's address."
    if status >= 500:
        return LiveCheck.INCONCLUSIVE, f"{returned}: the server cannot handle requests now; try again later."
    if status >= 400 and status not in _KEY_ACCEPTED:
        # Google refuses a wrong key with 400.
        return LiveCheck.FAILED, f"{returned}: check the key and base_url."
    if status < 300 and not _is_data(response.json()):
        return LiveCheck.FAILED, f"{returned} and no JSON: check that base_url is the API's address."
    return LiveCheck.PASSED, "reachable, and the key is accepted"


def _is_data(content: Any) -> bool:
    return isinstance(content, dict | list)
