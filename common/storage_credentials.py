"""Where Google Cloud Storage is, and the headers by which a process proves its identity there.

`STORAGE_EMULATOR_HOST` names another server with its API, `STORAGE_EMULATOR_TOKEN` the token for it. Otherwise Google's
library finds the credential of the machine or the pod; it is loaded only then, as it takes 20 MB of memory.
"""

import os
from collections.abc import Mapping
from typing import Any, Protocol

#: What credentials are for, as Google's authorization server names it.
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class CredentialUnavailable(Exception):
    """The credential could not be fetched for now."""


class CredentialInvalid(Exception):
    """There is no valid credential, and asking again does not help."""


class StorageCredential(Protocol):
    """An identity. Methods may be called from any thread; they raise `CredentialUnavailable` or `CredentialInvalid`."""

    @property
    def endpoint(self) -> str:
        """URL of the store, without a path."""

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Returns the headers of one request; fetches a new token when the last one expires."""

    def renew(self) -> bool:
        """Fetches a new token after one was refused; returns False when there can be none."""


def find_credential() -> StorageCredential:
    """Returns the credential that the environment names. Raises what Google's library raises when it finds none."""
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        return _Token(emulator.rstrip("/"), os.environ.get("STORAGE_EMULATOR_TOKEN", ""))
    return _OfGoogle()


class _Token:
    """A token that does not change; none when it is empty."""

    def __init__(self, endpoint: str, token: str) -> None:
        self.endpoint = endpoint
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        return self._headers

    def renew(self) -> bool:
        return False


class _OfGoogle:
    """The credential of the machine, the pod or a key file, as Google's library finds it."""

    def __init__(self) -> None:
        import google.auth
        from google.auth import exceptions
        from google.auth.transport.requests import Request

        self._errors: Any = exceptions
        self._request: Any = Request()
        self._found: Any = google.auth.default(scopes=[SCOPE])[0]
        self.endpoint = f"https://storage.{getattr(self._found, 'universe_domain', 'googleapis.com')}"

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        self._with_typed_errors(self._found.before_request, self._request, method, url, headers)
        return headers

    def renew(self) -> bool:
        self._with_typed_errors(self._found.refresh, self._request)
        return True

    def _with_typed_errors(self, work: Any, *arguments: Any) -> None:
        try:
            work(*arguments)
        except self._errors.GoogleAuthError as error:
            if error.retryable or isinstance(error, self._errors.TransportError):
                raise CredentialUnavailable from error
            raise CredentialInvalid from error
