"""The provider kind `azure_openai`: OpenAI's Images API as an Azure OpenAI resource has it (v1); synchronous.

What differs from the kind `openai` is the credential, which Azure rotates. Errors are in the same map.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from services.generator.adapters.providers.azure_openai.entry import AzureOpenAIEntry
from services.generator.adapters.providers.azure_openai.identity import EntraIdentity, TokenSource
from services.generator.adapters.providers.http import credentials
from services.generator.adapters.providers.http.credentials import Credential, KeyOfEntry
from services.generator.adapters.providers.http.responses import MOST_BODY, Answer
from services.generator.adapters.providers.openai.provider import OpenAIProvider


class AzureOpenAIProvider(OpenAIProvider):
    """Asks a deployment for images and waits for them. Keys and tokens are sent to `base_url` alone.

    `identity` is for tests: it stands in for azure-identity.
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

    async def ask_freely(self, url: str) -> Answer:
        """The answer to a question that costs nothing, asked with the credential of now."""
        ask = super()._ask
        return await self._with_secret(lambda headers: ask("GET", url, headers=headers))

    async def _buy(self, method: str, url: str, *, most: int = MOST_BODY, **request: Any) -> Answer:
        """Send a request with the credential of now; 401 says that nothing was carried out."""
        buy = super()._buy
        return await self._with_secret(lambda headers: buy(method, url, most=most, headers=headers, **request))

    async def _with_secret(self, request: Callable[[Mapping[str, str]], Awaitable[Answer]]) -> Answer:
        async def asked(secret: str) -> Answer:
            return await request({"api-key": secret} if self._is_key else credentials.bearer(secret))

        return await credentials.send(self._secret, asked, is_refused=lambda answer: answer.status_code == 401)
