"""The provider kind `azure_openai`: OpenAI's Images API of an Azure OpenAI resource (v1); synchronous.

Only the credential, which Azure rotates, differs from the kind `openai`. Errors are classified by the same rules.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from services.generator.adapters.providers.azure_openai.entry import AzureOpenAIEntry
from services.generator.adapters.providers.azure_openai.identity import EntraIdentity, TokenSource
from services.generator.adapters.providers.http import credentials
from services.generator.adapters.providers.http.credentials import Credential, KeyOfEntry
from services.generator.adapters.providers.http.responses import MAX_BODY_BYTES, ProviderResponse
from services.generator.adapters.providers.openai.provider import OpenAIProvider


class AzureOpenAIProvider(OpenAIProvider):
    """Requests images from a deployment and waits for them. Keys and tokens are sent only to `base_url`.

    `identity` is for tests, in place of azure-identity.
    """

    def __init__(
        self,
        entry: AzureOpenAIEntry,
        *,
        api_key: str,
        transport: httpx.AsyncBaseTransport | None = None,
        identity: Callable[[], TokenSource] | None = None,
    ) -> None:
        super().__init__(entry, api_key=api_key, transport=transport, credential={})
        settings = entry.settings
        self._is_key = settings.auth == "key"
        self._secret: Credential = (
            EntraIdentity(entry.name, settings.scope, source=identity)
            if settings.auth == "identity"
            else KeyOfEntry(entry, api_key)
        )

    async def send_check(self, url: str) -> ProviderResponse:
        """Returns the response to the request of a live check, with the current credential."""
        send = super()._send_free
        return await self._with_secret(lambda headers: send("GET", url, headers=headers))

    async def _send_paid(
        self, method: str, url: str, *, limit: int = MAX_BODY_BYTES, **request: Any
    ) -> ProviderResponse:
        """Sends a request with the current credential; after a 401 nothing was carried out, so it is sent again."""
        send = super()._send_paid
        return await self._with_secret(lambda headers: send(method, url, limit=limit, headers=headers, **request))

    async def _with_secret(
        self, request: Callable[[Mapping[str, str]], Awaitable[ProviderResponse]]
    ) -> ProviderResponse:
        async def send(secret: str) -> ProviderResponse:
            return await request({"api-key": secret} if self._is_key else credentials.bearer(secret))

        return await credentials.send(self._secret, send, is_refused=lambda response: response.status_code == 401)
