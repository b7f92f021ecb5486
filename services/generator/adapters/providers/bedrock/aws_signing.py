"""AWS signatures (version 4) with the credentials that this process finds; the library botocore is an extra.

botocore finds credentials of a pod, a machine, a profile or the environment, and renews them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from common.config import ConfigError
from services.generator.adapters.providers.http.credentials import SecretRedactor, none_to_send

INSTALL = "pip install 'calotype[bedrock]'"
SERVICE = "bedrock"


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A signed request's headers and the credentials that signed it."""

    headers: Mapping[str, str]
    """All headers, with the signature."""
    by: tuple[str, str]
    """Access key and session token (empty without one) of the credentials."""


class Signer:
    """Signs requests. Raises `ConfigError` if botocore is not installed.

    `find_credentials` is for tests: it returns credentials as botocore has them, or None.
    """

    def __init__(self, name: str, region: str, *, find_credentials: Callable[[], Any] | None = None) -> None:
        if find_spec("botocore") is None:
            raise ConfigError(f"provider {name}: botocore is not installed; {INSTALL} installs it.")
        self._name = name
        self._region = region
        self._find_credentials = find_credentials or _default_credentials
        self._credentials: Any = None
        self._redactor = SecretRedactor()

    async def signed(self, url: str, body: bytes, headers: Mapping[str, str]) -> Signed:
        """Returns the headers of a POST with a signature. Raises `ProviderError` without credentials."""
        return await asyncio.to_thread(self._signed, url, body, headers)

    async def signed_again(
        self, url: str, body: bytes, headers: Mapping[str, str], *, refused: Signed
    ) -> Signed | None:
        """Returns headers signed with newly found credentials; None if these are the ones that were refused."""
        self._credentials = None
        signed = await self.signed(url, body, headers)
        return None if signed.by == refused.by else signed

    def _signed(self, url: str, body: bytes, headers: Mapping[str, str]) -> Signed:
        frozen = self._frozen()
        if frozen.token:
            self._redactor.note(frozen.token)
        request = import_module("botocore.awsrequest").AWSRequest(
            method="POST", url=url, data=body, headers=dict(headers)
        )
        import_module("botocore.auth").SigV4Auth(frozen, SERVICE, self._region).add_auth(request)
        return Signed(headers=dict(request.headers.items()), by=(frozen.access_key, frozen.token or ""))

    def _frozen(self) -> Any:
        """Returns the current credentials; botocore renews those that expire, possibly from another machine."""
        library = import_module("botocore.exceptions")
        try:
            if self._credentials is None:
                self._credentials = self._find_credentials()
            if self._credentials is not None:
                return self._credentials.get_frozen_credentials()
        except library.BotoCoreError as error:
            lasting = isinstance(error, library.NoCredentialsError | library.ProfileNotFound)
            raise none_to_send(self._name, "the environment", error, passing=not lasting) from error
        raise none_to_send(self._name, "the environment", library.NoCredentialsError(), passing=False)


def _default_credentials() -> Any:
    return import_module("botocore.session").Session().get_credentials()
