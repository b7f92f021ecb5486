"""Fetches images from untrusted URLs with protection against SSRF: connects only to addresses that were checked."""

import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from calotype.error_reasons import Code, Reason

from common.memory import read_body, timeout
from common.network import retry_after
from common.network.guarded_connect import MAX_ADDRESSES, ForbiddenAddress, checked_addresses, require_peer
from common.network.resolver import Resolve, resolve
from services.generator.adapters.images import errors
from services.generator.adapters.network.content_encoding import decompress
from services.generator.adapters.network.public_tls import public_tls
from services.generator.adapters.network.trusted_hosts import PrivateAddresses, TrustedHosts
from services.generator.domain.provider_results import FetchError, StageError

#: Returns the headers with the credential for a URL; empty except for URLs of the credential's owner.
CredentialFor = Callable[[str], Mapping[str, str]]
#: Limit on redirects of one fetch.
MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Temporary statuses: a retry may help. So may it after 5xx, except those in `_NEVER`.
_TEMPORARY = frozenset({408, 425, 429})
#: Statuses for an image that was just made, until the store and its caches have it; and for one that has expired.
_NOT_THERE = frozenset({202, 204, 205, 403, 404, 409, 410, 423})
#: Statuses for requests that the server will never support.
_NEVER = frozenset({501, 505})
#: Copies of a file in memory: as received, and on its way to staging.
COPIES = 2
_RANGE = re.compile(r"\s*bytes\s+0-(\d{1,12})/(\d{1,12})\s*")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of one fetch."""

    #: Size limit of the image in bytes.
    max_bytes: int = 64 * 1024 * 1024
    #: Seconds for the whole fetch, redirects included, without the wait for memory.
    seconds: float = 60.0
    #: Seconds in which a missing image may still appear. Stores show a new object within a few seconds, but caches in
    #: front of them remember that it was missing: for 10 s by default at a large one.
    appears_within_seconds: float = 30.0


def _no_credential(url: str) -> Mapping[str, str]:
    return {}


class UnknownHost(FetchError):
    """The host of the URL has no address."""


class GuardedFetch:
    """Fetches http and https URLs without cookies or proxies; from private networks only where allowed."""

    def __init__(self, *, bounds: Bounds | None = None, resolver: Resolve = resolve) -> None:
        self._bounds = bounds or Bounds()
        self._resolve = resolver
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            verify=public_tls(),
            timeout=httpx.Timeout(15.0),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            # Images are compressed already. A body that is compressed again is decompressed within bounds.
            headers={"User-Agent": "calotype", "Accept": "image/*", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def fetch(
        self,
        url: str,
        *,
        trusted_host: str | None = None,
        allow_private: PrivateAddresses = False,
        max_bytes: int | None = None,
        credential_for: CredentialFor = _no_credential,
    ) -> bytes:
        """Returns the body at a URL; follows redirects after the same checks.

        `trusted_host` (`host:port`) may be private. `max_bytes` None: the limit of `Bounds`. The credential is sent to
        the URLs that it belongs to, and never again after a redirect to another one. Raises `StageError`
        FORBIDDEN_ADDRESS, TOO_LARGE or FETCH_FAILED; `UnknownHost`.
        """
        trusted = TrustedHosts(own_host=trusted_host, private=allow_private)
        limit = min(max_bytes or self._bounds.max_bytes, self._bounds.max_bytes)
        headers = credential_for(url)
        try:
            async with timeout(self._bounds.seconds):
                for _ in range(MAX_REDIRECTS + 1):
                    addresses = await self._checked(url, trusted)
                    body, location = await self._fetch_once(url, addresses, headers, limit)
                    if location is None:
                        return body
                    url = urljoin(url, location)
                    # A host without the credential must not be able to redirect to one with it.
                    headers = headers and credential_for(url)
        except TimeoutError as error:
            raise _failed("did not arrive in time") from error
        except (httpx.InvalidURL, ValueError) as error:
            raise _forbidden("is not a URL") from error
        except ForbiddenAddress as error:
            raise not_of_the_internet() from error
        except httpx.RequestError as error:
            raise _failed(f"could not be fetched ({type(error).__name__})") from error
        raise _forbidden("redirects too often")

    async def _fetch_once(
        self, url: str, addresses: Sequence[str], headers: Mapping[str, str], limit: int
    ) -> tuple[bytes, str | None]:
        """Returns the body, or where a redirect leads."""
        response = await self._open(url, addresses, headers)
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return b"", response.headers["location"]
            body = await self._body(response, limit) if response.is_success else b""
            if not response.is_success or (response.status_code in _NOT_THERE and not errors.looks_like_image(body)):
                raise self._refused(response, body)
            if response.status_code == 206 and not _is_whole(response.headers.get("content-range", ""), len(body)):
                raise _failed("arrived only in part", received=body)
            return body, None
        finally:
            await response.aclose()

    def _refused(self, response: httpx.Response, body: bytes) -> FetchError:
        status = response.status_code
        error = _failed(
            f"could not be fetched: its host returned status {status}",
            retryable=status in _TEMPORARY or (status >= 500 and status not in _NEVER),
            appears_within=self._bounds.appears_within_seconds if status in _NOT_THERE else 0.0,
            received=body,
        )
        error.retry_after_seconds = retry_after.seconds(response.headers)
        return error

    async def _open(self, url: str, addresses: Sequence[str], credential: Mapping[str, str]) -> httpx.Response:
        """Returns the response of the first reachable address; Host header and TLS use the URL's host name."""
        parts = urlsplit(url)
        headers = {**credential, "Host": parts.netloc.rpartition("@")[2]}
        unreachable: httpx.TransportError | None = None
        for address in addresses[:MAX_ADDRESSES]:
            target = httpx.URL(url).copy_with(host=address)
            extensions = {"sni_hostname": parts.hostname or "", "trace": _require_peer(address)}
            request = self._client.build_request("GET", target, headers=headers, extensions=extensions)
            try:
                return await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreachable = error
        raise unreachable or httpx.ConnectError("no address")

    async def _body(self, response: httpx.Response, limit: int) -> bytes:
        announced, encoding = response.headers.get("content-length", ""), response.headers.get("content-encoding", "")
        length = int(announced) if announced.isdecimal() else None
        if length is not None and length > limit:
            raise errors.too_large(limit)
        body = await read_body(_until_broken(response.aiter_raw()), length=length, limit=limit, copies=COPIES)
        is_short = length is not None and len(body) < length
        if len(body) <= limit:
            body = await decompress(body, encoding, limit=limit, copies=COPIES)
        if len(body) > limit:
            raise errors.too_large(limit)
        if is_short:
            raise _failed("is shorter than announced", received=body)
        return body

    async def _checked(self, url: str, trusted: TrustedHosts) -> Sequence[str]:
        """Returns all addresses of the URL's host.

        Raises `ForbiddenAddress` unless all are public or trusted; `StageError`.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise _forbidden("is not a URL") from error
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
            raise _forbidden("is not a plain http or https URL")
        try:
            return await checked_addresses(host, port, policy=trusted, resolver=self._resolve)
        except (OSError, UnicodeError) as error:
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
                raise _failed("could not be fetched: the name of its host cannot be resolved now") from error
            raise UnknownHost(
                code=Code.TEMPORARY,
                reason=Reason.FETCH_FAILED,
                message="The image could not be fetched: its host is unknown.",
                retryable=True,
            ) from error


def _require_peer(address: str) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """Returns a hook of httpcore that checks a new connection before anything is sent on it."""

    async def check(event: str, values: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            await require_peer(values["return_value"], address)

    return check


async def _until_broken(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields a body up to where the connection broke: decoding shows whether more than its end is missing."""
    is_begun = False
    try:
        async for part in parts:
            is_begun = is_begun or bool(part)
            yield part
    except httpx.RemoteProtocolError:
        if not is_begun:
            raise


def not_of_the_internet() -> StageError:
    """Returns the error for a forbidden host, and for an unknown host of a caller's URL: it must not reveal our DNS."""
    return _forbidden("does not name a public host")


def _forbidden(what: str) -> StageError:
    return StageError(
        code=Code.PERMANENT, reason=Reason.FORBIDDEN_ADDRESS, message=f"The image's URL {what}.", retryable=False
    )


def _failed(what: str, *, retryable: bool = True, appears_within: float = 0.0, received: bytes = b"") -> FetchError:
    return FetchError(
        code=Code.TEMPORARY,
        reason=Reason.FETCH_FAILED,
        message=f"The image {what}.",
        retryable=retryable,
        appears_within_seconds=appears_within,
        received=received,
    )


def _is_whole(content_range: str, size: int) -> bool:
    """Returns whether a partial response is the whole file; True without a range, as decoding then decides."""
    if not content_range:
        return True
    match = _RANGE.fullmatch(content_range)
    return match is not None and int(match[1]) + 1 == int(match[2]) == size
