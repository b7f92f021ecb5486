"""Deliveries through a forward proxy: its faults are its own, and what it says of receivers is theirs."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from common.network.guarded_connect import AddressPolicy
from services.notifier.adapters import forward_proxy
from services.notifier.adapters.http_sender import HttpSender
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.endpoints import Secret, SignatureScheme
from tests.support.patience import PATIENCE
from tests.support.security.certificates import LOCAL, Authority, dns
from tests.support.servers import hostile_receivers as hostile
from tests.support.servers.hostile_receivers import OK, LoopClock, Names, Receiver, Wire, answers, receiver
from tests.support.servers.tcp_servers import connection

ID = UUID("0192f0c1-a2b3-7c4d-8e5f-60718293a4b5")
SECRET = Secret(id=ID, tenant="acme", endpoint_id=ID, key=bytes(32), created_at=datetime(2026, 11, 28, tzinfo=UTC))
DONE = OK + b"Content-Length: 2\r\n\r\nok"


async def post(url: str, proxy_url: str, **options: Any) -> AttemptOutcome:
    """Posts one event through a proxy."""
    policy = options.pop("policy", AddressPolicy(ports=None))
    sender = HttpSender(policy=policy, proxy_url=proxy_url, **{"resolver": Names(), **options})
    async with asyncio.timeout(PATIENCE):
        return await sender.send(
            url,
            delivery_id=ID,
            event_type="job.completed",
            body=b"{}",
            secrets=[SECRET],
            scheme=SignatureScheme.V1,
            traceparent=None,
        )


@asynccontextmanager
async def proxy(port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A proxy that resolves every name to a port of this machine."""

    async def forward(running: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        running.requests.append((head, b""))
        async with connection("127.0.0.1", port) as (back, up):
            if head.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                up.write(head)
            await asyncio.gather(_pump(reader, up), _pump(back, writer))

    async with receiver(forward, tls=tls) as running:
        yield running


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()


@pytest.mark.parametrize("host", ["receiver.test", "1.1.1.1", "[2606:4700::1111]"])
async def test_plain_http_goes_to_the_proxy_in_the_absolute_form(host: str) -> None:
    async with receiver(answers(DONE)) as running, proxy(running.port) as between:
        outcome = await post(f"http://{host}:81/hook?a=b", f"http://127.0.0.1:{between.port}")

    assert (outcome.error, outcome.status, outcome.response) == (None, 200, "ok")
    assert between.requests[0][0].startswith(f"POST http://{host}:81/hook?a=b HTTP/1.1\r\n".encode())
    assert f"host: {host}:81".encode() in between.requests[0][0].lower()


@pytest.mark.parametrize("with_tls", [False, True], ids=["http proxy", "https proxy"])
async def test_https_goes_through_a_tunnel(tmp_path: Path, with_tls: bool) -> None:
    authority = Authority(tmp_path)
    served = hostile.served_with(authority.give("receiver", dns("receiver.test")))
    of_proxy = hostile.served_with(authority.give("proxy", *LOCAL)) if with_tls else None
    async with receiver(answers(DONE), tls=served) as running, proxy(running.port, tls=of_proxy) as between:
        address = f"{'https' if with_tls else 'http'}://user:p%40ss@localhost:{between.port}"
        outcome = await post("https://receiver.test/hook", address, tls=hostile.trusting(authority))

    assert (outcome.error, outcome.status) == (None, 200)
    assert between.requests[0][0].startswith(b"CONNECT receiver.test:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: basic dxnlcjpwqhnz" in between.requests[0][0].lower()
    assert b"proxy-authorization" not in running.requests[0][0].lower()


async def test_a_certificate_of_a_receiver_behind_the_proxy_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    served = hostile.served_with(authority.give("receiver", dns("other.test")))
    async with receiver(answers(DONE), tls=served) as running, proxy(running.port) as between:
        outcome = await post(
            "https://receiver.test/", f"http://127.0.0.1:{between.port}", tls=hostile.trusting(authority)
        )

    assert (outcome.error, running.requests) == (AttemptError.TLS, [])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, AttemptError.PROXY),
        (403, AttemptError.BLOCKED_ADDRESS),
        (407, AttemptError.PROXY),
        (429, AttemptError.PROXY),
        (500, AttemptError.PROXY),
        (502, AttemptError.CONNECT),
        (503, AttemptError.CONNECT),
        (504, AttemptError.CONNECT),
        (301, AttemptError.PROXY),
    ],
)
async def test_a_tunnel_that_is_refused(status: int, error: AttemptError) -> None:
    async with receiver(
        answers(f"HTTP/1.1 {status} No \x85 way\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
    ) as running:
        outcome = await post("https://receiver.test/", f"http://127.0.0.1:{running.port}")

    assert (outcome.error, outcome.status) == (error, None)
    assert str(status) in outcome.message
    assert outcome.message.isprintable()


@pytest.mark.parametrize(
    ("headers", "error"),
    [(b"Proxy-Authenticate: Basic\r\n", AttemptError.PROXY), (b"", AttemptError.STATUS)],
)
async def test_credentials_that_the_proxy_wants_are_not_the_receivers_failure(
    headers: bytes, error: AttemptError
) -> None:
    response = b"HTTP/1.1 407 Who\r\n" + headers + b"Content-Length: 0\r\n\r\n"
    async with receiver(answers(response)) as running:
        outcome = await post("http://receiver.test/", f"http://127.0.0.1:{running.port}")

    assert (outcome.error, outcome.status) == (error, 407)


@pytest.mark.parametrize("behave", [hostile.closes, hostile.resets, answers(b"garbage\r\n\r\n"), answers(b"")])
async def test_a_proxy_that_breaks_or_talks_nonsense(behave: hostile.Behaviour) -> None:
    async with receiver(behave) as running:
        outcome = await post("https://receiver.test/", f"http://127.0.0.1:{running.port}")

    assert outcome.error is AttemptError.PROXY


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there(scheme: str) -> None:
    with hostile.sniffer() as sniffer:
        port = sniffer.port
    outcome = await post(f"{scheme}://receiver.test/", f"http://127.0.0.1:{port}")

    assert outcome.error is AttemptError.PROXY
    assert outcome.message == "The forward proxy failed: connection refused."


async def test_a_proxy_that_hangs() -> None:
    wire = Wire()
    async with receiver(hostile.hangs) as running:
        clock = LoopClock()
        sending = asyncio.create_task(post("https://receiver.test/", f"http://127.0.0.1:{running.port}", backend=wire))
        await wire.until_waiting()
        clock.pass_by(21)
        outcome = await sending

    assert outcome.error is AttemptError.PROXY
    assert outcome.message == "The forward proxy did not respond in time."


async def test_a_receiver_that_hangs_behind_the_proxy_is_not_the_proxys_fault() -> None:
    wire = Wire()
    async with receiver(answers(b"", then="hang")) as running, proxy(running.port) as between:
        clock = LoopClock()
        sending = asyncio.create_task(post("http://receiver.test/", f"http://127.0.0.1:{between.port}", backend=wire))
        await wire.until_waiting()
        clock.pass_by(21)
        outcome = await sending

    assert outcome.error is AttemptError.TIMEOUT_HEADERS


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_literal_addresses_that_are_forbidden_do_not_reach_the_proxy(host: str, scheme: str) -> None:
    with hostile.sniffer() as sniffer:
        outcome = await post(f"{scheme}://{host}/", f"http://127.0.0.1:{sniffer.port}")

        assert outcome.error is AttemptError.BLOCKED_ADDRESS
        assert sniffer.came() == 0


async def test_names_are_resolved_by_the_proxy_and_responses_kept_unless_private_receivers_are_allowed() -> None:
    names = Names()
    async with receiver(answers(DONE)) as running, proxy(running.port) as between:
        address = f"http://proxy.test:{between.port}"
        public = await post("http://receiver.test/", address, resolver=names)
        allowing = AddressPolicy(allow_private=True, ports=None)
        private = await post("http://receiver.test/", address, resolver=names, policy=allowing)

    assert set(names.requested) == {"proxy.test"}
    assert (public.response, private.response) == ("ok", "")


@pytest.mark.parametrize(
    "url", ["", "proxy:3128", "socks5://proxy:1080", "http://", "http://proxy/path", "http://proxy:x", "http://u:secret@[x"]
)  # fmt: skip
def test_a_proxy_must_be_a_plain_address(url: str) -> None:
    with pytest.raises(ValueError, match="forward proxy") as refused:
        forward_proxy.read(url)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_credentials_of_a_proxy_are_not_shown() -> None:
    assert "secret" not in repr(forward_proxy.read("http://user:secret@proxy:3128"))
