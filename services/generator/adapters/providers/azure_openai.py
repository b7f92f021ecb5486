"""The provider kind `azure_openai`: OpenAI's Images API as an Azure OpenAI resource has it (v1); synchronous.

What differs from the kind `openai` is the credential, which Azure rotates. Errors are in the same map.
"""

from collections.abc import Callable
from typing import Any

import httpx

from services.generator.adapters.provider_entries import AzureOpenAIEntry
from services.generator.adapters.providers import credentials
from services.generator.adapters.providers.answers import MOST_BODY, Answer
from services.generator.adapters.providers.azure_identity import EntraIdentity, TokenSource
from services.generator.adapters.providers.credentials import Credential, KeyOfEntry
from services.generator.adapters.providers.openai import OpenAIProvider


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

    async def _buy(self, method: str, url: str, *, most: int = MOST_BODY, **request: Any) -> Answer:
        """Send a request with the credential of now; 401 says that nothing was carried out."""
        buy = super()._buy

        async def with_secret(secret: str) -> Answer:
            headers = {"api-key": secret} if self._is_key else credentials.bearer(secret)
            return await buy(method, url, most=most, headers=headers, **request)

        return await credentials.send(self._secret, with_secret, is_refused=lambda answer: answer.status_code == 401)
