"""Answers as they come: whatever is odd about one spoils neither a picture in it nor what is kept of it."""

import gzip
import json
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from calotype.size_limits import MAX_IMAGE_BYTES

from services.generator.adapters.providers.a1111 import errors
from services.generator.adapters.providers.bfl import errors as bfl_errors
from services.generator.adapters.providers.comfyui import errors as comfyui_errors
from services.generator.adapters.providers.fal import errors as fal_errors
from services.generator.adapters.providers.gemini import errors as gemini_errors
from services.generator.adapters.providers.http import responses
from services.generator.adapters.providers.http.errors import classify
from services.generator.adapters.providers.http.responses import ProviderResponse, exchange
from services.generator.adapters.providers.openai import errors as openai_errors
from services.generator.adapters.providers.replicate import errors as replicate_errors
from services.generator.adapters.providers.stability import errors as stability_errors
from services.generator.domain.provider_results import Acceptance

RULES = {
    "a1111": errors.RULES,
    "bfl": bfl_errors.RULES,
    "comfyui": comfyui_errors.RULES,
    "comfyui v2": comfyui_errors.V2_RULES,
    "fal": fal_errors.RULES,
    "gemini": gemini_errors.RULES,
    "openai": openai_errors.RULES,
    "replicate": replicate_errors.CREATE_RULES,
    "stability": stability_errors.RULES,
}
BODY = json.dumps({"data": "a picture"}).encode()


class Breaking(httpx.AsyncByteStream):
    """A body that ends with a broken connection."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class Wire(httpx.AsyncBaseTransport):
    """Answers every request alike."""

    def __init__(self, body: bytes | Breaking, headers: list[tuple[bytes, bytes]]) -> None:
        self._body, self._headers = body, headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        stream = httpx.ByteStream(self._body) if isinstance(self._body, bytes) else self._body
        return httpx.Response(200, headers=self._headers, stream=stream)


async def come(body: bytes | Breaking, *headers: tuple[bytes, bytes], limit: int = 10_000) -> ProviderResponse:
    """What comes of an answer."""
    async with httpx.AsyncClient(transport=Wire(body, list(headers))) as client:
        return await exchange(client, "GET", "http://vendor.example/", limit=limit)


def answer(status: int, body: Any = None, **headers: str) -> ProviderResponse:
    """An answer that came well."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = b"" if body is None else json.dumps(body).encode()
    return ProviderResponse(status_code=status, headers=httpx.Headers(named), content=content, limit=10_000)


async def test_a_header_may_hold_anything() -> None:
    came = await come(BODY, (b"x-routed-via", "маляр".encode()), (b"x-latin", b"f\xfcr"), (b"x-request-id", b"r\xff1"))

    assert came.json() == {"data": "a picture"}
    assert came.evidence().request_id == "rÿ1"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BODY, id="not-packed-at-all"),
        pytest.param(gzip.compress(BODY), id="packed"),
    ],
)
async def test_a_label_that_is_wrong_is_no_obstacle(body: bytes) -> None:
    assert (await come(body, (b"content-encoding", b"gzip"))).json() == {"data": "a picture"}


async def test_what_unpacks_to_too_much_is_cut() -> None:
    came = await come(gzip.compress(bytes(10_000_000)), (b"content-encoding", b"gzip"), limit=1000)

    assert (len(came.content), came.is_cut, came.json()) == (1001, True, None)


async def test_a_body_that_is_whole_is_taken_though_its_connection_broke() -> None:
    came = await come(Breaking(BODY))

    assert came.json() == {"data": "a picture"}
    assert came.broken is not None


async def test_half_a_body_is_no_answer_and_not_a_byte_is_none_either() -> None:
    assert (await come(Breaking(BODY[:-3]))).json() is None
    with pytest.raises(httpx.RemoteProtocolError):
        await come(Breaking())


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 402, 405, 406, 411, 415, 426, 431, 501])
def test_what_by_definition_carries_nothing_out_is_no_risk_of_a_bill(kind: str, status: int) -> None:
    error = classify(kind, answer(status), RULES[kind])

    assert error.acceptance is Acceptance.NOT_ACCEPTED
    assert error.reason == ("QUOTA_EXHAUSTED" if status == 402 else "PROVIDER_REJECTED")
    assert ("base_url" in error.message) == (status in (301, 302, 303, 307, 308, 405, 501))


@pytest.mark.parametrize(("kind", "status"), [("gemini", 500), ("gemini", 503), ("fal", 500), ("fal", 503)])
def test_what_a_vendor_does_not_charge_may_be_bought_elsewhere(kind: str, status: int) -> None:
    error = classify(kind, answer(status), RULES[kind])

    assert (error.acceptance, error.retryable) == (Acceptance.NOT_ACCEPTED, True)


@pytest.mark.parametrize("kind", RULES)
def test_a_time_to_wait_may_be_a_date(kind: str) -> None:
    now = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
    due = format_datetime(now + timedelta(seconds=15), usegmt=True)
    told = {"retry_after": due, "date": format_datetime(now, usegmt=True)}

    assert classify(kind, answer(429, **told), RULES[kind]).retry_after_seconds == 15


@pytest.mark.parametrize(
    ("named", "seconds"), [("0", 0.0), ("-3", 0.0), ("1.5", 1.5), ("soon", None), ("inf", None), ("", None)]
)
def test_a_time_to_wait_that_is_none_is_left_to_us(named: str, seconds: float | None) -> None:
    assert classify("openai", answer(429, retry_after=named), RULES["openai"]).retry_after_seconds == seconds


def test_a_date_that_has_passed_is_no_time_to_wait() -> None:
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)

    assert classify("openai", answer(429, retry_after=past), RULES["openai"]).retry_after_seconds == 0.0


def test_the_largest_image_fits_into_a_response_as_base64() -> None:
    around = 1024 * 1024

    assert responses.max_bytes() > math.ceil(MAX_IMAGE_BYTES / 3) * 4 + around
