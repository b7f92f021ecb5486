"""Whether a vendor is where an entry says, and takes its key: by one question that costs nothing."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import httpx

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.factory import remote_provider
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain import foreign_text
from services.generator.domain.provider_results import ProviderError

#: Out of credit, or asked too often: whose account it is, was seen.
_TAKES_THE_KEY = frozenset({402, 429})


class Found(Enum):
    """What a look came to."""

    WELL = auto()
    WRONG = auto()
    #: Neither: the vendor is away, or has no question that costs nothing.
    UNSEEN = auto()


async def look(
    entry: RemoteEntry, *, environ: Mapping[str, str], transport: httpx.AsyncBaseTransport | None = None
) -> tuple[Found, str]:
    """What was found, and words for a person. Raises `ConfigError` where there is no key."""
    provider = remote_provider(entry, environ=environ, transport=transport)
    if provider.free_question is None:
        await provider.close()
        return Found.UNSEEN, f"{entry.kind} has no question that costs nothing; address and key are not tried."
    url = httpx.URL(f"{provider.base_url}/").join(provider.free_question)
    try:
        answer = await provider.ask_freely(str(url))
    except ProviderError as error:
        return Found.UNSEEN, f"{url} cannot be reached ({error.message})"
    finally:
        await provider.close()
    return _meaning(answer, str(url))


def _meaning(answer: Answer, url: str) -> tuple[Found, str]:
    status = answer.status_code
    where = f"GET {url} is answered with status {status}"
    if status in (401, 403):
        return Found.WRONG, f"{where}: the key is refused."
    if 300 <= status < 400:
        target = foreign_text.clean(answer.headers.get("location", "elsewhere"), 300)
        return Found.WRONG, f"{where}: it leads to {target}. Redirections are not followed; write the final address."
    if status in (404, 405, 410, 501):
        return Found.WRONG, f"{where}: look whether base_url is the API's address."
    if status >= 500:
        return Found.UNSEEN, f"{where}: something is there, and cannot be asked now."
    if status >= 400 and status not in _TAKES_THE_KEY:
        # Google, for one, refuses a key with 400.
        return Found.WRONG, f"{where}: look whether the key and base_url are right."
    if status < 300 and not _is_data(answer.json()):
        return Found.WRONG, f"{where} and something that is not the API's: look whether base_url is its address."
    return Found.WELL, "answers, and takes the key"


def _is_data(told: Any) -> bool:
    return isinstance(told, dict | list)
