"""Fetch from addresses that came from outside: checked, bounded, and connected to the very address that was checked."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit

import httpx

from common.memory import read_body, timeout
from services.generator.domain.outcomes import StageError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
MOST_REDIRECTS = 3
#: Addresses of one host that are tried.
MOST_ADDRESSES = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: A file is in memory once as it came, and once on its way to staging.
COPIES = 2
_MAPPINGS = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of one fetch: bytes, and seconds for all of it, redirects included, waiting for memory not."""

    most_bytes: int = 64 * 1024 * 1024
    seconds: float = 60.0


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


class GuardedFetch:
    """Fetches http(s) URLs without credentials, cookies or proxies; private addresses only where told to trust."""

    def __init__(self, *, bounds: Bounds | None = None, resolver: Resolve = resolve) -> None:
        self._bounds = bounds or Bounds()
        self._resolve = resolver
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(15.0),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            # No encoding: a small body that unpacks to a large one would pass the bound on what arrives.
            headers={"User-Agent": "calotype", "Accept": "image/*", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def fetch(
        self, url: str, *, trusted_host: str | None = None, allow_private: bool = False, most_bytes: int | None = None
    ) -> bytes:
        """The body that the address serves; redirects are checked like the address itself.

        `trusted_host` (`host:port`) may be private. Raises `StageError`: FORBIDDEN_ADDRESS, TOO_LARGE, FETCH_FAILED.
        """
        most = min(most_bytes or self._bounds.most_bytes, self._bounds.most_bytes)
        try:
            async with timeout(self._bounds.seconds):
                for _ in range(MOST_REDIRECTS + 1):
                    body, location = await self._once(url, trusted_host, allow_private, most)
                    if location is None:
                        return body
                    url = urljoin(url, location)
        except TimeoutError as error:
            raise _failed("did not arrive in time") from error
        except (httpx.InvalidURL, ValueError) as error:
            raise _forbidden("is not an address") from error
        except httpx.RequestError as error:
            raise _failed(f"could not be fetched ({type(error).__name__})") from error
        raise _forbidden("redirects too often")

    async def _once(
        self, url: str, trusted_host: str | None, allow_private: bool, most: int
    ) -> tuple[bytes, str | None]:
        answer = await self._open(url, await self._checked(url, trusted_host, allow_private))
        try:
            if answer.status_code in _REDIRECTS and "location" in answer.headers:
                return b"", answer.headers["location"]
            if answer.status_code != 200:
                raise _failed(f"is answered with status {answer.status_code}", status=answer.status_code)
            return await self._body(answer, most), None
        finally:
            await answer.aclose()

    async def _open(self, url: str, addresses: Sequence[str]) -> httpx.Response:
        """The answer of the first of the addresses that can be reached; the host is named as the URL names it."""
        parts = urlsplit(url)
        headers = {"Host": parts.netloc.rpartition("@")[2]}
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
        told = answer.headers.get("content-length")
        length = int(told) if told else None
        if length is not None and length > most:
            raise _too_large(most)
        body = await read_body(answer.aiter_raw(), length=length, most=most, copies=COPIES)
        if len(body) > most:
            raise _too_large(most)
        return body

    async def _checked(self, url: str, trusted_host: str | None, allow_private: bool) -> Sequence[str]:
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
            raise _failed("names a host that is not known") from error
        trusted = allow_private or trusted_host == f"{host}:{port}"
        if not addresses or not (trusted or all(is_public(address) for address in addresses)):
            raise _forbidden("points to a private network")
        return addresses


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet, also when it is wrapped into another family."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.is_site_local or ip.sixtofour is not None or ip.teredo is not None or any(ip in one for one in _MAPPINGS):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


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


def _failed(what: str, *, status: int = 0) -> StageError:
    # Whether a result is gone for good is for the provider to say; asking again costs nothing.
    return StageError(
        code="TEMPORARY", reason="FETCH_FAILED", message=f"The image {what}.", retryable=status not in (403, 404, 410)
    )
