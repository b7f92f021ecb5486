"""A vendor's answer as it came, and the evidence of it that is kept when it ends badly."""

import json
import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from common.memory import read_body
from services.generator.adapters.network.content_encoding import unpacked
from services.generator.domain import foreign_text
from services.generator.domain.provider_results import VendorError

#: Answers are small; images come by other ways.
MOST_BODY = 4 * 1024 * 1024
#: An answer is in memory as bytes, as text and as strings while it is parsed; after that as strings of base64, the
#: images that these were, and those that are on their way to staging.
COPIES = 3
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, headers and body, byte for byte; of a body longer than `most` bytes only one more than that.

    `broken` is why the body may not be whole; what of it came may do all the same. `is_not_charged`: the operator knows
    that the vendor charges nothing for an answer of this status.
    """

    status_code: int
    headers: httpx.Headers
    content: bytes
    most: int
    broken: httpx.RequestError | None = None
    is_not_charged: bool = False
    #: Where it came from.
    url: str = ""

    @property
    def is_success(self) -> bool:
        """Whether its status says that the request was carried out."""
        return 200 <= self.status_code < 300

    @property
    def is_cut(self) -> bool:
        """Whether the body was longer than it may be."""
        return len(self.content) > self.most

    @property
    def text(self) -> str:
        """What the beginning of the body says."""
        return foreign_text.of_bytes(self.content, foreign_text.MESSAGE)

    def json(self) -> Any:
        """The body as JSON; None for what is none, is cut, or is nested without end."""
        if self.is_cut:
            return None
        try:
            return json.loads(_text(self.content))
        except (ValueError, RecursionError):
            return None

    def address(self, named: str) -> str:
        """The address that the answer names; one without scheme or host is meant from where the answer came."""
        try:
            return named if named.startswith("data:") else urljoin(self.url, named.strip())
        except ValueError:
            return named

    def evidence(self, *, code: str = "", message: str | None = None, request_id: str | None = None) -> VendorError:
        """What is kept of it: its beginning, where no other message is given, and the request's id at the vendor.

        A success that ends badly may hold what was paid for: its body goes along.
        """
        return VendorError(
            http_status=self.status_code,
            code=code,
            message=self.text if message is None else message,
            request_id=self.headers.get("x-request-id", "") if request_id is None else request_id,
            body=self.content if self.is_success else b"",
        )


async def exchange(
    client: httpx.AsyncClient, method: str, url: str, *, most: int = MOST_BODY, **request: Any
) -> Answer:
    """One request and its answer; the body of a refusal is small, or cut.

    What is read waits for memory (`common.memory`). Raises `httpx.RequestError` where not a byte of a success came, and
    `TimeoutError` of the share.
    """
    # Unpacked here, bounded: what arrives says nothing of what it unpacks to.
    headers = {"Accept-Encoding": "identity", **request.pop("headers", {})}
    broken: list[httpx.RequestError] = []
    async with client.stream(method, url, headers=headers, **request) as answer:
        most = most if answer.is_success else min(most, MOST_BODY)
        parts = _until_broken(answer.aiter_raw(), broken)
        body = await read_body(parts, length=_length(answer), most=most, copies=COPIES)
    if broken and not body and answer.is_success:
        raise broken[0]
    packed = answer.headers.get("content-encoding", "")
    content = await unpacked(body, packed, most=most, copies=COPIES)
    return Answer(
        url=url,
        status_code=answer.status_code,
        headers=answer.headers,
        content=content[: most + 1],
        most=most,
        broken=broken[0] if broken else None,
    )


async def _until_broken(parts: AsyncIterable[bytes], broken: list[httpx.RequestError]) -> AsyncIterator[bytes]:
    try:
        async for part in parts:
            yield part
    except httpx.RequestError as error:
        broken.append(error)


def _length(answer: httpx.Response) -> int | None:
    """The body's length, where it is told of the body itself."""
    told = answer.headers.get("content-length", "")
    return int(told) if told.isdecimal() and "content-encoding" not in answer.headers else None


def _text(content: bytes) -> str:
    """JSON as text of one byte per character: one quotation mark of a vendor's would make it two, also for base64."""
    encoding = json.detect_encoding(content)
    if encoding == "utf-8" and not content.isascii():
        content = b'"'.join(part if part.isascii() else _NOT_ASCII.sub(_escaped, part) for part in content.split(b'"'))
    return content.decode(encoding, "surrogatepass")


def _escaped(found: re.Match[bytes]) -> bytes:
    return json.dumps(found[0].decode("utf-8", "surrogatepass"))[1:-1].encode()
