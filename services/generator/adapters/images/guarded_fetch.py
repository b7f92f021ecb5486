"""Fetch from addresses that came from outside: checked, bounded, and connected to the very address that was checked."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit

import httpx

from common.memory import read_body, timeout
from services.generator.adapters.images import errors
from services.generator.adapters.network import retry_after
from services.generator.adapters.network.content_encoding import unpacked
from services.generator.adapters.network.trusted_hosts import PrivateAddresses, TrustedHosts
from services.generator.domain.provider_results import FetchError, StageError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
#: The headers that carry a credential to an address; none for all but the owner's.
CredentialFor = Callable[[str], Mapping[str, str]]
MOST_REDIRECTS = 3
#: Addresses of one host that are tried.
MOST_ADDRESSES = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Asking again may help, for as long as there is time; so may it after 5xx, but for what the server never does.
_PASSING = frozenset({408, 425, 429})
#: Said of a picture that was made just now, until the store and its caches know of it; and of one that has expired.
_NOT_THERE = frozenset({202, 204, 205, 403, 404, 409, 410, 423})
_NEVER = frozenset({501, 505})
#: A file is in memory once as it came, and once on its way to staging.
COPIES = 2
_RANGE = re.compile(r"\s*bytes\s+0-(\d{1,12})/(\d{1,12})\s*")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of one fetch: bytes, and seconds for all of it, redirects included, waiting for memory not.

    A file that is not there may appear within so many seconds. Stores show a new object at once or within a few, but
    caches before them remember that it was missing: for 10 s, where nobody has set it otherwise, at a large one.
    """

    most_bytes: int = 64 * 1024 * 1024
    seconds: float = 60.0
    appears_within_seconds: float = 30.0


def _no_credential(url: str) -> Mapping[str, str]:
    return {}


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


class UnknownHost(FetchError):
    """A host that has no address."""


class GuardedFetch:
    """Fetches http(s) URLs without cookies or proxies; from private networks only where told to trust."""

    def __init__(self, *, bounds: Bounds | None = None, resolver: Resolve = resolve) -> None:
        self._bounds = bounds or Bounds()
        self._resolve = resolver
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(15.0),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            # Pictures are packed already. What comes packed all the same is unpacked within bounds.
            headers={"User-Agent": "calotype", "Accept": "image/*", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def fetch(
        self,
        url: str,
        *,
        trusted_host: str | None = None,
        allow_private: PrivateAddresses = False,
        most_bytes: int | None = None,
        credential_for: CredentialFor = _no_credential,
    ) -> bytes:
        """The body that the address serves; redirects are checked like the address itself.

        `trusted_host` (`host:port`) may be private. A credential goes to the addresses that it is for, until a redirect
        leads elsewhere. Raises `StageError`: FORBIDDEN_ADDRESS, TOO_LARGE, FETCH_FAILED; `UnknownHost`.
        """
        trusted = TrustedHosts(own_host=trusted_host, private=allow_private)
        most = min(most_bytes or self._bounds.most_bytes, self._bounds.most_bytes)
        headers = credential_for(url)
        try:
            async with timeout(self._bounds.seconds):
                for _ in range(MOST_REDIRECTS + 1):
                    addresses = await self._checked(url, trusted)
                    body, location = await self._once(url, addresses, headers, most)
                    if location is None:
                        return body
                    url = urljoin(url, location)
                    # Whoever it was led to may not send it back with the credential.
                    headers = headers and credential_for(url)
        except TimeoutError as error:
            raise _failed("did not arrive in time") from error
        except (httpx.InvalidURL, ValueError) as error:
            raise _forbidden("is not an address") from error
        except httpx.RequestError as error:
            raise _failed(f"could not be fetched ({type(error).__name__})") from error
        raise _forbidden("redirects too often")

    async def _once(
        self, url: str, addresses: Sequence[str], headers: Mapping[str, str], most: int
    ) -> tuple[bytes, str | None]:
        answer = await self._open(url, addresses, headers)
        try:
            if answer.status_code in _REDIRECTS and "location" in answer.headers:
                return b"", answer.headers["location"]
            body = await self._body(answer, most) if answer.is_success else b""
            if not answer.is_success or (answer.status_code in _NOT_THERE and not errors.looks_like_image(body)):
                raise self._refused(answer, body)
            if answer.status_code == 206 and not _is_whole(answer.headers.get("content-range", ""), len(body)):
                raise _failed("came in part", came=body)
            return body, None
        finally:
            await answer.aclose()

    def _refused(self, answer: httpx.Response, body: bytes) -> FetchError:
        status = answer.status_code
        error = _failed(
            f"is answered with status {status}",
            retryable=status in _PASSING or (status >= 500 and status not in _NEVER),
            appears_within=self._bounds.appears_within_seconds if status in _NOT_THERE else 0.0,
            came=body,
        )
        error.retry_after_seconds = retry_after.seconds(answer.headers)
        return error

    async def _open(self, url: str, addresses: Sequence[str], credential: Mapping[str, str]) -> httpx.Response:
        """The answer of the first of the addresses that can be reached; the host is named as the URL names it."""
        parts = urlsplit(url)
        headers = {**credential, "Host": parts.netloc.rpartition("@")[2]}
        extensions = {"sni_hostname": parts.hostname or ""}
        unreachable: httpx.TransportError | None = None
        for address in addresses[:MOST_ADDRESSES]:
            target = httpx.URL(url).copy_with(host=address)
            request = self._client.build_request("GET", target, headers=headers, extensions=extensions)
            try:
                return await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreachable = error
        raise unreachable or httpx.ConnectError("no address")

    async def _body(self, answer: httpx.Response, most: int) -> bytes:
        named, packed = answer.headers.get("content-length", ""), answer.headers.get("content-encoding", "")
        length = int(named) if named.isdecimal() else None
        if length is not None and length > most:
            raise _too_large(most)
        body = await read_body(_until_broken(answer.aiter_raw()), length=length, most=most, copies=COPIES)
        is_short = length is not None and len(body) < length
        if len(body) <= most:
            body = await unpacked(body, packed, most=most, copies=COPIES)
        if len(body) > most:
            raise _too_large(most)
        if is_short:
            raise _failed("is shorter than was told", came=body)
        return body

    async def _checked(self, url: str, trusted: TrustedHosts) -> Sequence[str]:
        """Every address of the URL's host, none of them private unless that is trusted."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise _forbidden("is not an address") from error
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
            raise _forbidden("is not a plain http or https address")
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
                raise _failed("names a host that cannot be looked up now") from error
            raise UnknownHost(
                code="TEMPORARY",
                reason="FETCH_FAILED",
                message="The image names a host that is not known.",
                retryable=True,
            ) from error
        if not trusted.may_reach(host, port, addresses):
            raise not_of_the_internet()
        return addresses


async def _until_broken(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body, or what came of it: where its end is lost, whoever decodes it sees whether anything else is."""
    has_come = False
    try:
        async for part in parts:
            has_come = has_come or bool(part)
            yield part
    except httpx.RemoteProtocolError:
        if not has_come:
            raise


def not_of_the_internet() -> StageError:
    """For a host that may not be asked; a caller that could tell it from an unknown one could ask our name server."""
    return _forbidden("names no host of the open internet")


def _forbidden(what: str) -> StageError:
    return StageError(
        code="PERMANENT", reason="FORBIDDEN_ADDRESS", message=f"The image's address {what}.", retryable=False
    )


def _too_large(most: int) -> StageError:
    return StageError(
        code="PERMANENT",
        reason="TOO_LARGE",
        message=f"The image is larger than {most // (1024 * 1024)} MiB.",
        retryable=False,
    )


def _failed(what: str, *, retryable: bool = True, appears_within: float = 0.0, came: bytes = b"") -> FetchError:
    return FetchError(
        code="TEMPORARY",
        reason="FETCH_FAILED",
        message=f"The image {what}.",
        retryable=retryable,
        appears_within_seconds=appears_within,
        received=came,
    )


def _is_whole(told: str, size: int) -> bool:
    """Whether a part is all there is; one that does not say which part it is, is judged as a picture."""
    if not told:
        return True
    found = _RANGE.fullmatch(told)
    return found is not None and int(found[1]) + 1 == int(found[2]) == size
