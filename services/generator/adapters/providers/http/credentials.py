"""Credentials that change while the process runs: each request carries the current one."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from calotype.error_reasons import Code, Reason

from common.config import ConfigError
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain import untrusted_text
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

#: Secrets of a source that are redacted: the newest, and the one before, which responses under way may repeat.
KEPT = 2


class SecretRedactor:
    """Redacts the newest secrets of one source in all text that comes from outside."""

    def __init__(self) -> None:
        self._given: deque[str] = deque()

    def note(self, secret: str) -> str:
        """Returns the secret, and redacts it from now on; forgets the oldest beyond `KEPT`."""
        if secret not in self._given:
            untrusted_text.register_secret(secret)
            self._given.append(secret)
            if len(self._given) > KEPT:
                untrusted_text.forget_secret(self._given.popleft())
        return secret


class Credential(ABC):
    """A secret that its source renews."""

    def __init__(self) -> None:
        self._redactor = SecretRedactor()

    async def current(self) -> str:
        """Returns the secret to send now. Raises `ProviderError` if there is none; nothing was sent."""
        return self._redactor.note(await asyncio.to_thread(self._read))

    async def renewed(self) -> str:
        """Returns the secret from its source, without caches, after another was refused. Raises `ProviderError`."""
        return self._redactor.note(await asyncio.to_thread(self._read_uncached))

    @abstractmethod
    def _read(self) -> str:
        """Returns the secret; may request it from another machine, so it runs in a thread."""

    def _read_uncached(self) -> str:
        """Returns the secret without caches."""
        return self._read()


class KeyOfEntry(Credential):
    """The key that an entry names. A key file is read for each request, so that a new key is used at once."""

    def __init__(self, entry: RemoteEntry, api_key: str) -> None:
        super().__init__()
        self._entry = entry
        self._last = api_key

    def _read(self) -> str:
        if self._entry.api_key_file is not None:
            try:
                self._last = self._entry.api_key({})
            except ConfigError:
                # The file may just be written: the key until now is sent, and refused if it is no longer valid.
                return self._last
        return self._last


def bearer(secret: str) -> Mapping[str, str]:
    """Returns the `Authorization` header of a bearer token."""
    return {"Authorization": f"Bearer {secret}"}


async def send(
    credential: Credential,
    request: Callable[[str], Awaitable[ProviderResponse]],
    *,
    is_refused: Callable[[ProviderResponse], bool],
) -> ProviderResponse:
    """Returns the response to a request with the current secret; sends it once more if that is refused and has changed.

    `is_refused` says whether a response refused the secret, so that nothing was carried out.
    """
    secret = await credential.current()
    response = await request(secret)
    if not is_refused(response):
        return response
    renewed = await credential.renewed()
    return response if renewed == secret else await request(renewed)


def none_to_send(name: str, source: str, error: Exception, *, passing: bool) -> ProviderError:
    """Returns the error of a source without a credential; nothing was sent. `passing`: another try may help."""
    return ProviderError(
        code=Code.TEMPORARY if passing else Code.AUTH_ERROR,
        reason=Reason.PROVIDER_UNAVAILABLE if passing else Reason.PROVIDER_AUTH,
        message=f"{name} has no credential: {source} returned none ({type(error).__name__}).",
        retryable=passing,
        acceptance=Acceptance.NOT_ACCEPTED,
        vendor=VendorError(code=type(error).__name__, message=str(error)),
    )
