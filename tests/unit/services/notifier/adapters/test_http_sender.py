"""What a receiver gets, and what is kept of its response."""

import asyncio
import gzip
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import calotype
import httpcore
import pytest
import standardwebhooks
import svix.webhooks

from common.network.guarded_connect import AddressPolicy
from services.notifier.adapters.http_sender import HttpSender
from services.notifier.adapters.signatures import new_key, written_secret
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.endpoints import Secret, SignatureScheme
from tests.support.patience import PATIENCE
from tests.support.servers.hostile_receivers import OK, Names, Receiver, Wire, answers, receiver

ID = UUID("0192f0c1-a2b3-7c4d-8e5f-60718293a4b5")
BODY = '{"type":"job.completed","data":{"prompt":"\N{FOX FACE}"}}'.encode()
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DONE = OK + b"Content-Length: 0\r\n\r\n"
ANYWHERE = AddressPolicy(allow_private=True, ports=None)


class PublicWire(Wire):
    """Connects to this machine, and lets it look like a public address."""

    async def connect_tcp(self, host: str, *arguments: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        stream = await super().connect_tcp("127.0.0.1", *arguments, **options)
        stream.get_extra_info = lambda info: (host, 80) if info == "server_addr" else None  # type: ignore[method-assign]
        return stream


def secret(key: bytes) -> Secret:
    """A live secret."""
    return Secret(id=ID, tenant="acme", endpoint_id=ID, key=key, created_at=datetime.now(UTC))


async def post(
    url: str,
    *,
    keys: Sequence[bytes] = (bytes(32),),
    scheme: SignatureScheme = SignatureScheme.V1,
    traceparent: str | None = None,
    public: bool = False,
    **options: Any,
) -> AttemptOutcome:
    """Posts one event; to a public receiver, if so."""
    if public:
        options |= {"backend": PublicWire(), "resolver": Names(["1.1.1.1"]), "policy": AddressPolicy(ports=None)}
    sender = HttpSender(**{"policy": ANYWHERE, "resolver": Names(), **options})
    async with asyncio.timeout(PATIENCE):
        return await sender.send(
            url,
            delivery_id=ID,
            event_type="job.completed",
            body=BODY,
            secrets=[secret(key) for key in keys],
            scheme=scheme,
            traceparent=traceparent,
        )


async def outcome_of(response: bytes, *, public: bool = True) -> AttemptOutcome:
    """The outcome of a response."""
    async with receiver(answers(response)) as running:
        return await post(running.url(), public=public)


def sent(running: Receiver) -> tuple[str, dict[str, str], bytes]:
    """Request line, headers by name in lower case, and body of the only request."""
    [(head, body)] = running.requests
    line, *headers = head.decode().rstrip("\r\n").split("\r\n")
    return line, {name.lower(): value for name, value in (header.split(": ", 1) for header in headers)}, body


async def test_a_receiver_gets_the_event_with_these_headers_and_no_others() -> None:
    async with receiver(answers(DONE)) as running:
        outcome = await post(running.url(path="/hook?a=b#c"), traceparent=TRACE, clock=lambda: 1_700_000_000.9)

    line, headers, body = sent(running)
    assert (outcome.is_success, outcome.status, outcome.message) == (True, 200, "")
    assert line == "POST /hook?a=b HTTP/1.1"
    assert body == BODY
    assert headers.pop("webhook-signature").startswith("v1,")
    assert headers.pop("traceparent").startswith(TRACE[:36])
    assert headers == {
        "host": f"receiver.test:{running.port}",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "user-agent": f"Calotype-Webhooks/{calotype.__version__}",
        "webhook-id": f"msg_{ID.hex}",
        "webhook-timestamp": "1700000000",
        "connection": "close",
    }


@pytest.mark.parametrize("traceparent", [None, "", "nonsense", "00-0-0-0\r\nX: y", "a" * 10_000])
async def test_a_malformed_traceparent_is_not_sent(traceparent: str | None) -> None:
    async with receiver(answers(DONE)) as running:
        outcome = await post(running.url(), traceparent=traceparent)

    assert outcome.is_success
    assert (traceparent or "none") not in str(sent(running)[1])


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.webhooks.Webhook])
async def test_public_libraries_verify_what_a_receiver_gets(library: Any) -> None:
    new, old = new_key(), new_key()
    async with receiver(answers(DONE)) as running:
        await post(running.url(), keys=[new, old])

    _, headers, body = sent(running)
    for key in (new, old):
        library(written_secret(key)).verify(body, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library(written_secret(new)).verify(body + b" ", headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library(written_secret(new_key())).verify(body, headers)


async def test_a_delivery_may_be_signed_with_ed25519() -> None:
    async with receiver(answers(DONE)) as running:
        await post(running.url(), scheme=SignatureScheme.V1A)

    assert sent(running)[1]["webhook-signature"].startswith("v1a,")


async def test_each_attempt_has_a_connection_of_its_own() -> None:
    async with receiver(answers(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")) as running:
        for _ in range(3):
            assert (await post(running.url())).is_success

    assert running.connections == 3


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
async def test_every_2xx_is_a_success(status: int) -> None:
    outcome = await outcome_of(f"HTTP/1.1 {status} Fine\r\nContent-Length: 0\r\n\r\n".encode())

    assert (outcome.error, outcome.status) == (None, status)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503, 599])
async def test_every_other_status_is_a_failure(status: int) -> None:
    outcome = await outcome_of(f"HTTP/1.1 {status} No\r\nContent-Length: 5\r\n\r\nsorry".encode())

    assert (outcome.error, outcome.status, outcome.response) == (AttemptError.STATUS, status, "sorry")
    assert outcome.message == f"The receiver returned status {status}."


@pytest.mark.parametrize(
    ("body", "response"),
    [
        (b"fine", "fine"),
        (b"", ""),
        ("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \N{FOX FACE}".encode(), "grün \N{FOX FACE}"),
        (b"a\x00b\x1b[31mc\r\n\td\x7f", "a b [31mc d"),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b\N{ZERO WIDTH SPACE}c\x85d".encode(), "a b c d"),
        (b"a\xff\xfeb", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"),
        (b"x" * 5_000, "x" * 1_024),
        ("\N{FOX FACE}".encode() * 2_000, "\N{FOX FACE}" * 1_024),
        (b" " * 20_000 + b"never read", ""),
    ],
)
async def test_the_first_characters_of_a_response_are_kept_cleaned(body: bytes, response: str) -> None:
    outcome = await outcome_of(OK + b"\r\n" + body)

    assert (outcome.is_success, outcome.response) == (True, response)


async def test_a_compressed_response_is_not_decompressed() -> None:
    packed = gzip.compress(bytes(5_000_000))
    outcome = await outcome_of(OK + b"Content-Encoding: gzip\r\n\r\n" + packed)

    assert outcome.is_success
    assert len(outcome.response) <= 1_024


async def test_nothing_is_kept_of_the_response_of_a_private_receiver() -> None:
    outcome = await outcome_of(b"HTTP/1.1 500 No\r\n\r\nroot:x:0:0", public=False)

    assert (outcome.error, outcome.status, outcome.response) == (AttemptError.STATUS, 500, "")


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (b"https://new.test/hook", ", to https://new.test/hook."),
        (b"/login?token=hidden#part", ", to /login."),
        (b"", "."),
        (b"?token=hidden", "."),
        (b"http://\x1b[2Jnew.test/\xe2\x80\xae", ", to http:// [2Jnew.test/."),
        (b"https://new.test/" + b"x" * 5_000, ", to https://new.test/" + "x" * 183 + "."),
    ],
)
async def test_a_redirect_is_told_cleaned_and_bounded(location: bytes, shown: str) -> None:
    outcome = await outcome_of(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    assert outcome.error in (AttemptError.REDIRECT_REFUSED, AttemptError.PROTOCOL)
    if outcome.error is AttemptError.REDIRECT_REFUSED:
        assert outcome.message == f"The receiver returned a redirect (status 302), which is not followed{shown}"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("120", 120.0), ("0", 0.0), ("-5", 0.0), ("soon", None), ("1e999", None), ("9" * 5_000, None), ("", None)],
)
async def test_retry_after_is_read(written: str, seconds: float | None) -> None:
    outcome = await outcome_of(f"HTTP/1.1 503 Busy\r\nRetry-After: {written}\r\nContent-Length: 0\r\n\r\n".encode())

    assert (outcome.error, outcome.retry_after) == (AttemptError.STATUS, seconds)


async def test_retry_after_may_be_a_date() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    later = (now + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    outcome = await outcome_of(
        f"HTTP/1.1 429 Slow\r\nDate: {now:%a, %d %b %Y %H:%M:%S} GMT\r\nRetry-After: {later}\r\n\r\n".encode()
    )

    assert outcome.retry_after == 3600


async def test_a_response_that_comes_before_the_request_was_read_counts() -> None:
    async def refuse(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with receiver(refuse) as running:
        outcome = await post(running.url())

    assert (outcome.error, outcome.status) == (AttemptError.STATUS, 413)


async def test_no_secret_is_in_what_a_log_may_show(caplog: pytest.LogCaptureFixture) -> None:
    key = new_key()
    caplog.set_level(0)
    async with receiver(answers(b"HTTP/1.1 500 No\r\n\r\n")) as running:
        outcome = await post(running.url(), keys=[key])

    assert written_secret(key).removeprefix("whsec_") not in caplog.text + repr(outcome)
    assert repr(key) not in caplog.text + repr(outcome)
