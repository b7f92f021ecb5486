"""Credentials that change while a process runs: each request carries the one that is good now."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from common.config import ConfigError
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain import foreign_text
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

#: Secrets that are left out of texts: the newest, and the one before, which answers under way may repeat.
KEPT = 2


class Blotter:
    """Leaves the secrets of one source out of all text: each until newer ones have taken its place."""

    def __init__(self) -> None:
        self._given: deque[str] = deque()

    def note(self, secret: str) -> str:
        """The secret, which is in use from now on."""
        if secret not in self._given:
            foreign_text.keep_secret(secret)
            self._given.append(secret)
            if len(self._given) > KEPT:
                foreign_text.forget_secret(self._given.popleft())
        return secret


class Credential(ABC):
    """A secret that somebody renews."""

    def __init__(self) -> None:
        self._blotter = Blotter()

    async def current(self) -> str:
        """The secret to send now. Raises `ProviderError` where there is none; nothing was sent."""
        return self._blotter.note(await asyncio.to_thread(self._read))

    async def renewed(self) -> str:
        """The secret as its source has it at this moment, after one was refused. Raises `ProviderError`."""
        return self._blotter.note(await asyncio.to_thread(self._read_anew))

    @abstractmethod
    def _read(self) -> str:
        """The secret; may be asked of another machine."""

    def _read_anew(self) -> str:
        """The secret, from no cache."""
        return self._read()


class KeyOfEntry(Credential):
    """The key that an entry names; one in a file is read for each request, so that a new one is used at once."""

    def __init__(self, entry: RemoteEntry, api_key: str) -> None:
        super().__init__()
        self._entry = entry
        self._last = api_key

    def _read(self) -> str:
        if self._entry.api_key_file is not None:
            try:
                self._last = self._entry.api_key({})
            except ConfigError:
                # It may just be written: what was good until now is tried, and refused if it is not any more.
                return self._last
        return self._last


def bearer(secret: str) -> Mapping[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {secret}"}


async def send(
    credential: Credential, request: Callable[[str], Awaitable[Answer]], *, is_refused: Callable[[Answer], bool]
) -> Answer:
    """The answer to a request with the secret of now; where it is refused and there is another by then, with that.

    `is_refused`: the secret was, so that nothing was carried out.
    """
    secret = await credential.current()
    answer = await request(secret)
    if not is_refused(answer):
        return answer
    renewed = await credential.renewed()
    return answer if renewed == secret else await request(renewed)


def none_to_send(name: str, source: str, error: Exception, *, passing: bool) -> ProviderError:
    """No credential could be had; nothing was sent."""
    return ProviderError(
        code="TEMPORARY" if passing else "AUTH_ERROR",
        reason="PROVIDER_UNAVAILABLE" if passing else "PROVIDER_AUTH",
        message=f"{name}: {source} gives no credential ({type(error).__name__}).",
        retryable=passing,
        acceptance=Acceptance.NOT_ACCEPTED,
        vendor=VendorError(code=type(error).__name__, message=str(error)),
    )
