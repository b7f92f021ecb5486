"""What HTTP adapters share: one request with a bounded answer, and the error that an answer, or its lack, means."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from common.memory import read_body
from services.generator.domain.outcomes import Acceptance, ProviderError, VendorError

MOST_WORDS = 2000
#: Answers are small; images come by other ways.
MOST_BODY = 4 * 1024 * 1024
#: An answer is in memory as bytes, as text and as strings while it is parsed; after that as strings of base64, the
#: images that these were, and those that are on their way to staging.
COPIES = 3
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
MESSAGES = {
    "PROVIDER_AUTH": "{name} refuses the credential that is configured for it.",
    "QUOTA_EXHAUSTED": "The account at {name} is out of credit.",
    "PROVIDER_REJECTED": "{name} does not know the model or the address that is configured.",
    "INVALID_INPUT": "{name} does not accept a field of this request.",
    "PROVIDER_RATE_LIMIT": "{name} asks to slow down.",
    "PROVIDER_TIMEOUT": "{name} did not finish in its own time.",
    "PROVIDER_UNAVAILABLE": "{name} could not finish this time.",
    "CONTENT_POLICY": "{name} refused this request by its content policy.",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What an answer means, by the vendor's own code, a header and the status; what a rule leaves out may be anything.

    `header` is a name in small letters and its value.
    """

    code: str
    reason: str
    status: int | None = None
    vendor_code: str | None = None
    header: tuple[str, str] | None = None
    retryable: bool = False
    acceptance: Acceptance = Acceptance.NOT_ACCEPTED

    def fits(self, answer: httpx.Response, vendor_code: str) -> bool:
        """Whether an answer is of this kind."""
        told = self.header is None or answer.headers.get(self.header[0], "").lower() == self.header[1].lower()
        return told and self.status in (None, answer.status_code) and self.vendor_code in (None, vendor_code)


async def exchange(
    client: httpx.AsyncClient, method: str, url: str, *, secret: str, most: int = MOST_BODY, **request: Any
) -> httpx.Response:
    """One request and its answer, cut after `most` bytes, in which nobody will find the secret (if any) again.

    What is read waits for memory (`common.memory`). Raises `httpx.RequestError`, and `TimeoutError` of the share.
    """
    async with client.stream(method, url, **request) as answer:
        most = most if answer.is_success else min(most, MOST_BODY)
        content = await read_body(answer.aiter_bytes(), length=_length(answer), most=most, copies=COPIES)
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_THE_WIRE}
    if secret:
        headers = {name: value.replace(secret, "***") for name, value in headers.items()}
        content = content.replace(secret.encode(), b"***")
    return httpx.Response(answer.status_code, headers=headers, content=content, request=answer.request)


def classify(
    name: str,
    answer: httpx.Response,
    rules: Iterable[Rule],
    *,
    vendor_code: str | None = None,
    retry_after: float | None = None,
) -> ProviderError:
    """The error of an answer. What no rule knows may have been carried out, and is not repeated.

    `vendor_code` and `retry_after` (seconds) are for vendors who tell them in a way of their own.
    """
    vendor = VendorError(
        http_status=answer.status_code,
        code=(_vendor_code(answer) if vendor_code is None else vendor_code)[:200],
        message=_words(answer),
        request_id=answer.headers.get("x-request-id", "")[:200],
    )
    rule = next((one for one in rules if one.fits(answer, vendor.code)), None)
    if rule is not None:
        return ProviderError(
            code=rule.code,
            reason=rule.reason,
            message=MESSAGES[rule.reason].format(name=name),
            retryable=rule.retryable,
            retry_after_seconds=retry_after if retry_after is not None else _retry_after(answer),
            acceptance=rule.acceptance,
            vendor=vendor,
        )
    faulty = answer.status_code >= 500
    return ProviderError(
        code="TEMPORARY" if faulty else "UNKNOWN",
        reason="PROVIDER_UNAVAILABLE" if faulty else "UNCLASSIFIED",
        message=f"{name} answered with status {answer.status_code}.",
        retryable=faulty,
        acceptance=Acceptance.UNKNOWN,
        vendor=vendor,
    )


def lost_answer(name: str, error: httpx.RequestError) -> ProviderError:
    """No answer came: a refused connection surely sent nothing, anything later nobody knows."""
    unsent = isinstance(error, _UNSENT)
    timed_out = isinstance(error, httpx.TimeoutException) and not unsent
    return ProviderError(
        code="TIMEOUT" if timed_out else "TEMPORARY",
        reason="PROVIDER_TIMEOUT" if timed_out else "PROVIDER_UNAVAILABLE",
        message=f"{name} could not be reached." if unsent else f"{name} took the request and did not answer.",
        retryable=True,
        acceptance=Acceptance.NOT_ACCEPTED if unsent else Acceptance.UNKNOWN,
        vendor=VendorError(message=type(error).__name__),
    )


def read_json(name: str, answer: httpx.Response, *, most: int = MOST_BODY) -> Mapping[str, Any]:
    """The answer's object. Raises `ProviderError`: it may have been carried out, whatever it says."""
    body = _parsed(answer) if len(answer.content) <= most else None
    if not isinstance(body, dict):
        raise ProviderError(
            code="UNKNOWN",
            reason="UNCLASSIFIED",
            message=f"{name} answered with something that is not its own format.",
            retryable=False,
            acceptance=Acceptance.UNKNOWN,
            vendor=VendorError(
                http_status=answer.status_code,
                message=_words(answer),
                request_id=answer.headers.get("x-request-id", "")[:200],
            ),
        )
    return body


def _length(answer: httpx.Response) -> int | None:
    """The body's length, where it is told of the body itself."""
    told = answer.headers.get("content-length", "")
    return int(told) if told.isdecimal() and "content-encoding" not in answer.headers else None


def _words(answer: httpx.Response) -> str:
    """How the answer begins."""
    start = answer.content[: 4 * MOST_WORDS]
    return httpx.Response(answer.status_code, headers=answer.headers, content=start).text[:MOST_WORDS]


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        seconds = float(answer.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _vendor_code(answer: httpx.Response) -> str:
    """Where vendors put it: at the top, or in an object `error`."""
    body = _parsed(answer) if len(answer.content) <= MOST_BODY else None
    if not isinstance(body, dict):
        return ""
    told = body["error"] if isinstance(body.get("error"), dict) else body
    return str(told.get("title") or told.get("code") or told.get("type") or "")[:200]


def _parsed(answer: httpx.Response) -> Any:
    """The body as JSON; None for what is none, or is nested without end."""
    try:
        return json.loads(_text(answer.content))
    except (ValueError, RecursionError):
        return None


def _text(content: bytes) -> str:
    """JSON as text of one byte per character: one quotation mark of a vendor's would make it two, also for base64."""
    encoding = json.detect_encoding(content)
    if encoding == "utf-8" and not content.isascii():
        content = b'"'.join(part if part.isascii() else _NOT_ASCII.sub(_escaped, part) for part in content.split(b'"'))
    return content.decode(encoding, "surrogatepass")


def _escaped(found: re.Match[bytes]) -> bytes:
    return json.dumps(found[0].decode("utf-8", "surrogatepass"))[1:-1].encode()
