"""Microsoft Entra tokens for the identity that this process has in Azure; the library azure-identity is an extra.

azure-identity finds out whether that is a workload identity, a managed identity or a service principal, caches each
token and renews it in time.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from common.config import ConfigError
from services.generator.adapters.providers.http.credentials import Credential, none_to_send

INSTALL = "pip install 'calotype[azure]'"


class TokenSource(Protocol):
    """The part of azure-identity's credentials that is used here."""

    def get_token(self, *scopes: str) -> Any:
        """Returns an object with the token as `token`, possibly from a cache."""


class EntraIdentity(Credential):
    """Tokens for one scope. Raises `ConfigError` if azure-identity is not installed."""

    def __init__(self, name: str, scope: str, *, source: Callable[[], TokenSource] | None = None) -> None:
        super().__init__()
        if source is None and not _is_installed():
            raise ConfigError(f"provider {name}: azure-identity is not installed; {INSTALL} installs it.")
        self._name = name
        self._scope = scope
        self._make = source or _default
        self._source: TokenSource | None = None

    def _read(self) -> str:
        if self._source is None:
            self._source = self._make()
        try:
            return str(self._source.get_token(self._scope).token)
        except Exception as error:
            # Errors are recognized by their classes' names, because the library may not be installed.
            kinds = {kind.__name__ for kind in type(error).__mro__}
            if "AzureError" not in kinds:
                raise
            passing = not kinds & {"ClientAuthenticationError", "CredentialUnavailableError"}
            raise none_to_send(self._name, "its identity in Azure", error, passing=passing) from error

    def _read_uncached(self) -> str:
        # Its cache cannot be cleared, so a new source replaces it: the cached token was just refused.
        self._source = None
        return self._read()


def _is_installed() -> bool:
    return find_spec("azure") is not None and find_spec("azure.identity") is not None


def _default() -> TokenSource:
    source: TokenSource = import_module("azure.identity").DefaultAzureCredential()
    return source
