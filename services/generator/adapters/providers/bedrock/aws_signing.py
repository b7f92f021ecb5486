"""Signatures of AWS (version 4) with the credentials that this process finds; the library is an extra.

Whether these are of a pod, a machine, a profile or the environment is found out by botocore, which also renews them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from common.config import ConfigError
from services.generator.adapters.providers.http.credentials import Blotter, none_to_send

INSTALL = "pip install 'calotype[bedrock]'"
SERVICE = "bedrock"


@dataclass(frozen=True, kw_only=True)
class Signed:
    """Headers with a signature, and whose it is."""

    headers: Mapping[str, str]
    by: tuple[str, str]


class Signer:
    """Signs requests. Raises `ConfigError` where the extra is missing.

    `find` is for tests: it gives credentials as botocore has them, or none.
    """

    def __init__(self, name: str, region: str, *, find: Callable[[], Any] | None = None) -> None:
        if find_spec("botocore") is None:
            raise ConfigError(f"provider {name}: botocore is not installed; {INSTALL} installs it.")
        self._name = name
        self._region = region
        self._find = find or _found
        self._credentials: Any = None
        self._blotter = Blotter()

    async def signed(self, url: str, body: bytes, headers: Mapping[str, str]) -> Signed:
        """The headers of a POST, with its signature. Raises `ProviderError` where there are no credentials."""
        return await asyncio.to_thread(self._signed, url, body, headers)

    async def signed_anew(self, url: str, body: bytes, headers: Mapping[str, str], *, refused: Signed) -> Signed | None:
        """The same with credentials that are found anew; None where these are the ones that were refused."""
        self._credentials = None
        found = await self.signed(url, body, headers)
        return None if found.by == refused.by else found

    def _signed(self, url: str, body: bytes, headers: Mapping[str, str]) -> Signed:
        frozen = self._frozen()
        if frozen.token:
            self._blotter.note(frozen.token)
        request = import_module("botocore.awsrequest").AWSRequest(
            method="POST", url=url, data=body, headers=dict(headers)
        )
        import_module("botocore.auth").SigV4Auth(frozen, SERVICE, self._region).add_auth(request)
        return Signed(headers=dict(request.headers.items()), by=(frozen.access_key, frozen.token or ""))

    def _frozen(self) -> Any:
        """The credentials of now; those that end are renewed by botocore, which may ask another machine."""
        library = import_module("botocore.exceptions")
        try:
            if self._credentials is None:
                self._credentials = self._find()
            if self._credentials is not None:
                return self._credentials.get_frozen_credentials()
        except library.BotoCoreError as error:
            lasting = isinstance(error, library.NoCredentialsError | library.ProfileNotFound)
            raise none_to_send(self._name, "the environment", error, passing=not lasting) from error
        raise none_to_send(self._name, "the environment", library.NoCredentialsError(), passing=False)


def _found() -> Any:
    return import_module("botocore.session").Session().get_credentials()
