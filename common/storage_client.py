"""The client of Google Cloud Storage, and its HTTP session: what is the same for all requests is found out once.

`requests` reads the environment's proxies and the user's netrc file for each request, parses its address again and
checks its headers, which took half of the processor time of a request. All requests of the client go to one API, and
the client has built their addresses and headers itself.
"""

import os
from pathlib import Path
from typing import Any

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.oauth2.credentials import Credentials
from requests import PreparedRequest, Request
from requests.structures import CaseInsensitiveDict

from common.bounded_http import BoundedAdapter

#: Timeout in seconds of a request for a new token, as in the library's own session.
REFRESH_SECONDS = 300
#: Fields of a request that the storage client does not use; a request that has one is prepared by the library.
_UNUSED = ("files", "json", "params", "auth", "cookies")


def storage_client(threads: int) -> Any:
    """Returns a client with a connection for each of `threads` threads.

    Without STORAGE_EMULATOR_HOST it has the credentials of its environment; raises `GoogleAuthError` without any, and
    `OSError` where STORAGE_EMULATOR_TOKEN_FILE cannot be read.
    """
    # Otherwise the library asks for the bucket by itself, for attributes of spans that are never made.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        options = ClientOptions(api_endpoint=emulator)
        token = _emulator_token()
        credentials = Credentials(token) if token else AnonymousCredentials()
        client = storage.Client(project="calotype", credentials=credentials, client_options=options)
    else:
        client = storage.Client()
    # One connection per thread, all of them reused. No retries inside the library: the caller's loop decides.
    adapter = BoundedAdapter(pool_connections=threads, pool_maxsize=threads, pool_block=True, max_retries=0)
    client._http_internal = session = StorageSession(client._credentials, refresh_timeout=REFRESH_SECONDS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return client


def _emulator_token() -> str | None:
    """Returns the token for the server at STORAGE_EMULATOR_HOST, from a variable or a file; None without either."""
    if path := os.environ.get("STORAGE_EMULATOR_TOKEN_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get("STORAGE_EMULATOR_TOKEN")


class StorageSession(AuthorizedSession):
    """Sends the requests of one storage client. Proxies and certificates of the environment are those at the start."""

    def __init__(self, credentials: Any, **options: Any) -> None:
        super().__init__(credentials, **options)
        self._settings: dict[tuple[str, ...], dict[str, Any]] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Returns proxies, certificates and the like of a request; those of the environment are read once per host."""
        if proxies or verify is not None or cert is not None:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        host = tuple(url.split("/", 3)[:3])
        settings = self._settings.get(host)
        if settings is None:
            settings = self._settings[host] = super().merge_environment_settings(url, {}, None, None, None)
        return {**settings, "stream": settings["stream"] if stream is None else stream}

    def prepare_request(self, request: Request) -> PreparedRequest:
        """Returns a request as it is sent. Its address is complete and quoted, its body bytes, text or absent."""
        body, url = request.data or None, request.url
        if isinstance(body, str):
            body = body.encode()
        if not isinstance(url, str) or not isinstance(body, bytes | None) or any(map(request.__dict__.get, _UNUSED)):
            return super().prepare_request(request)
        prepared = PreparedRequest()
        prepared.method, prepared.url = request.method, url
        prepared.body = body
        prepared.headers = CaseInsensitiveDict({**self.headers, **request.headers})
        if body is not None:
            prepared.headers["Content-Length"] = str(len(body))
        elif prepared.method not in ("GET", "HEAD"):
            prepared.headers["Content-Length"] = "0"
        # Kept for redirects, which the library follows.
        prepared._cookies = self.cookies
        return prepared
