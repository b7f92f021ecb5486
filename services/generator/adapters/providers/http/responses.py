"""A provider's HTTP response, read with bounds, and the evidence of it that is kept with an error."""

import json
import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from common.memory import read_body
from services.generator.adapters.network.content_encoding import decompress
from services.generator.domain import untrusted_text
from services.generator.domain.provider_results import VendorError

#: Bound of responses without images, in bytes.
MAX_BODY_BYTES = 4 * 1024 * 1024
#: Bytes of the first and each further image in the bound of a response that has its images as base64. One image of
#: `MAX_IMAGE_BYTES` fits, with what surrounds it; of several, as many on average as the memory of a generator allows.
_FIRST_IMAGE_BYTES, _FURTHER_IMAGE_BYTES = 92 * 1024 * 1024, 12 * 1024 * 1024
#: A response is in memory three times: as bytes, text and strings while it is parsed; after that as base64, the decoded
#: images, and the images that are being staged.
COPIES = 3
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")


def max_bytes(images: int = 1) -> int:
    """Returns the bound of a response with this many images, in bytes."""
    return _FIRST_IMAGE_BYTES + _FURTHER_IMAGE_BYTES * (images - 1)


@dataclass(frozen=True, kw_only=True)
class ProviderResponse:
    """A response with status, headers and body."""

    status_code: int
    """The HTTP status."""
    headers: httpx.Headers
    """The headers."""
    content: bytes
    """The body, decompressed; of a longer body the first `limit` + 1 bytes."""
    limit: int
    """Most bytes of a body."""
    broken: httpx.RequestError | None = None
    """Error that ended the body early; the bytes before it may be enough. None for a whole body."""
    is_not_charged: bool = False
    """Whether the operator knows that the provider does not charge responses of this status."""
    url: str = ""
    """Address of the request."""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300

    @property
    def is_cut(self) -> bool:
        """Whether the body was longer than `limit`."""
        return len(self.content) > self.limit

    @property
    def text(self) -> str:
        """The beginning of the body as cleaned text."""
        return untrusted_text.of_bytes(self.content, untrusted_text.MESSAGE)

    def json(self) -> Any:
        """Returns the body as JSON; None if it is not JSON, is cut, or is nested too deeply."""
        if self.is_cut:
            return None
        try:
            return json.loads(_text(self.content))
        except (ValueError, RecursionError):
            return None

    def address(self, url: str) -> str:
        """Returns a URL from the body; a relative one is resolved against the request's address."""
        try:
            return url if url.startswith("data:") else urljoin(self.url, url.strip())
        except ValueError:
            return url

    def evidence(self, *, code: str = "", message: str | None = None, request_id: str | None = None) -> VendorError:
        """Returns the evidence to keep. `message` None keeps the body's beginning, `request_id` None the header's.

        The body of a success goes along, because it may hold images that were charged.
        """
        return VendorError(
            http_status=self.status_code,
            code=code,
            message=self.text if message is None else message,
            request_id=self.headers.get("x-request-id", "") if request_id is None else request_id,
            body=self.content if self.is_success else b"",
        )


async def exchange(
    client: httpx.AsyncClient, method: str, url: str, *, limit: int = MAX_BODY_BYTES, **request: Any
) -> ProviderResponse:
    """Sends a request and returns its response; `limit` bounds the body in bytes, for errors at most `MAX_BODY_BYTES`.

    Waits for memory before it reads (`common.memory`). Raises `httpx.RequestError` if the connection breaks before the
    first byte of a success, and `TimeoutError` if no memory becomes free.
    """
    # Decompressed here, with a bound: the compressed length says nothing of the decompressed one.
    headers = {"Accept-Encoding": "identity", **request.pop("headers", {})}
    broken: list[httpx.RequestError] = []
    async with client.stream(method, url, headers=headers, **request) as response:
        limit = limit if response.is_success else min(limit, MAX_BODY_BYTES)
        parts = _until_broken(response.aiter_raw(), broken)
        body = await read_body(parts, length=_length(response), limit=limit, copies=COPIES)
    if broken and not body and response.is_success:
        raise broken[0]
    packed = response.headers.get("content-encoding", "")
    content = await decompress(body, packed, limit=limit, copies=COPIES)
    return ProviderResponse(
        url=url,
        status_code=response.status_code,
        headers=response.headers,
        content=content[: limit + 1],
        limit=limit,
        broken=broken[0] if broken else None,
    )


async def _until_broken(parts: AsyncIterable[bytes], broken: list[httpx.RequestError]) -> AsyncIterator[bytes]:
    try:
        async for part in parts:
            yield part
    except httpx.RequestError as error:
        broken.append(error)


def _length(response: httpx.Response) -> int | None:
    """Returns the body's length by its header; None without one, and for a compressed body."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and "content-encoding" not in response.headers else None


def _text(content: bytes) -> str:
    """Returns JSON as text with one byte per character: a single typographic quotation mark would double the memory."""
    encoding = json.detect_encoding(content)
    if encoding == "utf-8" and not content.isascii():
        content = b'"'.join(part if part.isascii() else _NOT_ASCII.sub(_escaped, part) for part in content.split(b'"'))
    return content.decode(encoding, "surrogatepass")


def _escaped(match: re.Match[bytes]) -> bytes:
    return json.dumps(match[0].decode("utf-8", "surrogatepass"))[1:-1].encode()
