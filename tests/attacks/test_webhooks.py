"""Receivers of webhooks: however they behave, an attempt ends in time, in its class, and reaches nothing forbidden."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpcore
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.network.guarded_connect import AddressPolicy
from services.notifier.adapters.http_sender import HttpSender
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.endpoints import Secret, SignatureScheme
from tests.support.patience import PATIENCE
from tests.support.security.certificates import Authority, dns
from tests.support.servers import hostile_receivers as hostile
from tests.support.servers.hostile_receivers import (
    OK,
    Behaviour,
    LoopClock,
    Names,
    Receiver,
    Wire,
    answers,
    receiver,
    repeats,
)

KIBIBYTE = 1024
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ID = UUID("0192f0c1-a2b3-7c4d-8e5f-60718293a4b5")
SECRET = Secret(id=ID, tenant="acme", endpoint_id=ID, key=bytes(32), created_at=datetime(2026, 11, 28, tzinfo=UTC))
ANYWHERE = AddressPolicy(allow_private=True, ports=None)
ANY_PORT = AddressPolicy(ports=None)
METADATA = "http://169.254.169.254/latest/meta-data/"
BROKEN = "The receiver closed the connection before its response ended."
NOT_HTTP = "The receiver's response is not HTTP/1.1."


async def attempt(url: str, *, policy: AddressPolicy = ANYWHERE, body: bytes = b"{}", **options: Any) -> AttemptOutcome:
    """What comes of one attempt, which ends in any case."""
    options.setdefault("resolver", Names())
    sender = HttpSender(policy=policy, **options)
    async with asyncio.timeout(2 * PATIENCE):
        return await sender.send(
            url,
            delivery_id=ID,
            event_type="job.completed",
            body=body,
            secrets=[SECRET],
            scheme=SignatureScheme.V1,
            traceparent=None,
        )


async def against(behave: Behaviour, **options: Any) -> AttemptOutcome:
    """What comes of an attempt at a receiver that behaves so."""
    async with receiver(behave) as running:
        return await attempt(running.url(), **options)


def summary(outcome: AttemptOutcome) -> tuple[AttemptError | None, int | None]:
    """Class and status."""
    return outcome.error, outcome.status


# Silence: the clock is put forward once the attempt is where it is to hang.


async def too_late(url: str, until: Callable[[Wire], Awaitable[None]], **options: Any) -> tuple[AttemptOutcome, Wire]:
    """What comes of an attempt whose time ends when it has come so far."""
    wire, clock = Wire(), LoopClock()
    running = asyncio.create_task(attempt(url, backend=wire, **options))
    await until(wire)
    clock.pass_by(19)
    # Still in time.
    for _ in range(10):
        await asyncio.sleep(0)
    assert not running.done()
    clock.pass_by(2)
    return await running, wire


@pytest.mark.parametrize(
    ("behave", "after", "error", "status"),
    [
        (hostile.hangs, b"", AttemptError.TIMEOUT_HEADERS, None),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Le", then="hang"), b"Content-Le", AttemptError.TIMEOUT_HEADERS, None),
        (answers(b"HTTP/1.1 100 Continue\r\n\r\n", then="hang"), b"\r\n\r\n", AttemptError.TIMEOUT_HEADERS, None),
        (answers(OK + b"Content-Length: 5\r\n\r\nab", then="hang"), b"ab", AttemptError.TIMEOUT_BODY, 200),
        (answers(OK + b"Content-Length: 5\r\n\r\n", then="hang"), b"\r\n\r\n", AttemptError.TIMEOUT_BODY, 200),
        (answers(CHUNKED + b"ff\r\nab", then="hang"), b"ab", AttemptError.TIMEOUT_BODY, 200),
        (answers(OK + b"\r\nuntil the end", then="hang"), b"the end", AttemptError.TIMEOUT_BODY, 200),
        (repeats(b"HTTP/1.1 200 OK\r\nX: ", b"y", pause=0.01), b"yyy", AttemptError.TIMEOUT_HEADERS, None),
        (repeats(OK + b"Content-Length: 90000\r\n\r\n", b"y", pause=0.01), b"yyy", AttemptError.TIMEOUT_BODY, 200),
        (
            repeats(CHUNKED, b"1\r\ny\r\n", pause=0.01),
            b"y\r\n1\r\ny",
            AttemptError.TIMEOUT_BODY,
            200,
        ),
    ],
    ids=[
        "mute", "in a header", "after 100", "in the body", "before the body", "in a chunk", "body without an end",
        "trickle of a header", "trickle of a body", "trickle of chunks",
    ],
)  # fmt: skip
async def test_a_receiver_that_takes_its_time_is_left(
    behave: Behaviour, after: bytes, error: AttemptError, status: int | None
) -> None:
    async with receiver(behave) as running:
        outcome, _ = await too_late(running.url(), lambda wire: wire.until_waiting(after=after))

    assert summary(outcome) == (error, status)
    assert outcome.message.endswith("in time.")


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, AttemptError.STATUS), (410, AttemptError.STATUS), (301, AttemptError.REDIRECT_REFUSED)],
)
async def test_a_failure_is_told_by_its_status_even_if_its_body_never_ends(status: int, error: AttemptError) -> None:
    response = f"HTTP/1.1 {status} No\r\nContent-Length: 50\r\n\r\nno".encode()
    async with receiver(answers(response, then="hang")) as running:
        outcome, _ = await too_late(running.url(), lambda wire: wire.until_waiting(after=b"no"))

    assert summary(outcome) == (error, status)


async def test_a_connection_that_is_never_made() -> None:
    with hostile.black_hole() as port:
        outcome, _ = await too_late(f"http://receiver.test:{port}/", Wire.until_connecting)

    assert summary(outcome) == (AttemptError.CONNECT, None)
    assert outcome.message == "No connection to the receiver could be made in time."


async def test_a_name_server_that_never_answers() -> None:
    asked = asyncio.Event()

    async def hang(host: str, port: int) -> Sequence[str]:
        asked.set()
        await asyncio.Event().wait()
        return []

    async def until(_: Wire) -> None:
        await asked.wait()

    outcome, _ = await too_late("http://receiver.test/", until, resolver=hang)

    assert summary(outcome) == (AttemptError.DNS, None)


async def test_a_handshake_that_never_ends() -> None:
    async with receiver(hostile.hangs) as running:
        outcome, _ = await too_late(running.url(scheme="https"), Wire.until_waiting)

    assert summary(outcome) == (AttemptError.TLS, None)
    assert outcome.message == "The TLS handshake with the receiver did not end in time."


async def test_a_receiver_that_reads_nothing_of_a_large_event() -> None:
    async with receiver(hostile.hangs) as running:
        outcome, _ = await too_late(running.url(), Wire.until_writing, body=bytes(16 * KIBIBYTE * KIBIBYTE))

    assert summary(outcome) == (AttemptError.TIMEOUT_HEADERS, None)


# Garbage, breaks and floods: they end at once.


@pytest.mark.parametrize(
    ("behave", "error", "status", "message"),
    [
        (answers(b""), AttemptError.PROTOCOL, None, BROKEN),
        (answers(b"", then="reset"), AttemptError.PROTOCOL, None, BROKEN),
        (answers(b"HTTP/1.1 200 OK\r\nX: y"), AttemptError.PROTOCOL, None, BROKEN),
        (answers(OK + b"Content-Length: 9\r\n\r\nab"), AttemptError.PROTOCOL, 200, BROKEN),
        (answers(OK + b"Content-Length: 9\r\n\r\nab", then="reset"), AttemptError.PROTOCOL, 200, BROKEN),
        (answers(CHUNKED + b"5\r\nab"), AttemptError.PROTOCOL, 200, BROKEN),
        (answers(CHUNKED + b"zz\r\n"), AttemptError.PROTOCOL, 200, NOT_HTTP),
        (answers(b"<html>HTTP/0.9 of old</html>\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(b"\x00" * 50_000), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(b"HTTP/2 200\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(b"HTTP/1.1 99999999 OK\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(OK + b"Content-Length: -5\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(OK + b"no header\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(OK + b"X: a\x00b\r\n\r\n"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nxx"), AttemptError.PROTOCOL, None, NOT_HTTP),
        (answers(b"HTTP/1.1 999 Odd\r\n\r\n"), AttemptError.STATUS, 999, "The receiver returned status 999."),
    ],
)  # fmt: skip
async def test_what_is_no_whole_response_is_a_broken_one(
    behave: Behaviour, error: AttemptError, status: int | None, message: str
) -> None:
    outcome = await against(behave)

    assert summary(outcome) == (error, status)
    assert outcome.message == message


@pytest.mark.parametrize(
    ("head", "part", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Again: " + b"y" * 500 + b"\r\n", AttemptError.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * KIBIBYTE, AttemptError.PROTOCOL),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 40, AttemptError.PROTOCOL),
        (b"", b"\r\n" * 500, AttemptError.PROTOCOL),
        (OK + b"Content-Length: 10485760\r\n\r\n", b"y" * KIBIBYTE, None),
        (OK + b"\r\n", b"y" * KIBIBYTE, None),
        (CHUNKED, b"400\r\n" + b"y" * KIBIBYTE + b"\r\n", None),
        (CHUNKED, b"1\r\ny\r\n" * 100, None),
        (CHUNKED, b"1;" + b"z" * KIBIBYTE + b"\r\ny\r\n", None),
        (OK + b"Content-Encoding: gzip\r\n\r\n", b"\x1f\x8b" * 500, None),
    ],
    ids=[
        "headers",
        "header",
        "1xx",
        "empty lines",
        "10 MB",
        "endless",
        "chunks",
        "tiny chunks",
        "extensions",
        "packed",
    ],
)
async def test_little_is_read_of_a_flood(head: bytes, part: bytes, error: AttemptError | None) -> None:
    wire = Wire()
    async with receiver(repeats(head, part)) as running:
        outcome = await attempt(running.url(), backend=wire)
        sent = running.sent

    assert outcome.error is error
    assert len(wire.received) <= (100 if error or b";" in part or b"1\r\n" in part else 21) * KIBIBYTE
    # What both operating systems hold is bounded, too.
    assert sent < 1024 * KIBIBYTE


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=100).map(lambda noise: OK + noise),
        st.binary(max_size=100).map(lambda noise: CHUNKED + noise),
        st.tuples(st.integers(0, 1200), st.binary(max_size=60)).map(
            lambda pair: b"HTTP/1.1 %d %s\r\n\r\n" % (pair[0], pair[1])
        ),
    )
)
def test_no_bytes_make_an_attempt_raise(response: bytes) -> None:
    outcome = asyncio.run(against(answers(response)))

    assert outcome.error in (None, AttemptError.PROTOCOL, AttemptError.STATUS, AttemptError.REDIRECT_REFUSED)
    assert outcome.message.isprintable()


# TLS.


@asynccontextmanager
async def tls_receiver(
    folder: Path, name: str, *, is_expired: bool = False
) -> AsyncIterator[tuple[Receiver, ssl.SSLContext]]:
    """A receiver with a certificate for a name, and what trusts its authority."""
    authority = Authority(folder)
    leaf = authority.give("receiver", dns(name))
    if is_expired:
        hostile.expired(authority, leaf, name)
    async with receiver(answers(OK + b"Content-Length: 2\r\n\r\nok"), tls=hostile.served_with(leaf)) as running:
        yield running, hostile.trusting(authority)


@pytest.mark.parametrize("host", ["receiver.test", "receiver.test.", "RECEIVER.test"])
async def test_a_receiver_with_a_valid_certificate(tmp_path: Path, host: str) -> None:
    async with tls_receiver(tmp_path, "receiver.test") as (running, trusting):
        outcome = await attempt(running.url(host, scheme="https"), tls=trusting)

    assert summary(outcome) == (None, 200)


@pytest.mark.parametrize(
    ("name", "is_expired", "reason"),
    [("receiver.test", True, "certificate has expired"), ("other.test", False, "hostname mismatch")],
)
async def test_a_certificate_that_is_expired_or_of_another_host(
    tmp_path: Path, name: str, is_expired: bool, reason: str
) -> None:
    async with tls_receiver(tmp_path, name, is_expired=is_expired) as (running, trusting):
        outcome = await attempt(running.url(scheme="https"), tls=trusting)

    assert summary(outcome) == (AttemptError.TLS, None)
    assert outcome.message == f"The TLS handshake with the receiver failed: {reason}."
    assert running.requests == []


async def test_a_certificate_of_an_unknown_authority(tmp_path: Path) -> None:
    async with tls_receiver(tmp_path, "receiver.test") as (running, _):
        outcome = await attempt(running.url(scheme="https"))

    assert summary(outcome) == (AttemptError.TLS, None)
    assert running.requests == []


async def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    served = hostile.served_with(authority.give("receiver", dns("receiver.test")))
    served.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        served.maximum_version = ssl.TLSVersion.TLSv1_1
    async with receiver(answers(OK + b"\r\n"), tls=served) as running:
        outcome = await attempt(running.url(scheme="https"), tls=hostile.trusting(authority))

    assert summary(outcome) == (AttemptError.TLS, None)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("behave", [hostile.resets, hostile.closes], ids=["reset", "end"])
async def test_a_receiver_that_ends_the_connection_at_once(behave: Behaviour, scheme: str) -> None:
    async with receiver(behave) as running:
        outcome = await attempt(running.url(scheme=scheme))

    # Its end may be seen before the first byte is sent, or after.
    assert outcome.error in (AttemptError.CONNECT, AttemptError.TLS if scheme == "https" else AttemptError.PROTOCOL)


async def test_a_receiver_that_speaks_no_tls() -> None:
    async with receiver(hostile.greets) as running:
        outcome = await attempt(running.url(scheme="https"))

    assert summary(outcome) == (AttemptError.TLS, None)


# Connections.


async def test_a_port_at_which_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = await attempt(f"http://receiver.test:{unused.getsockname()[1]}/")

    assert summary(outcome) == (AttemptError.CONNECT, None)
    assert outcome.message == "No connection to the receiver could be made: connection refused."


async def test_a_receiver_that_has_ipv6_alone() -> None:
    try:
        async with receiver(answers(OK + b"\r\n"), host="::1") as running:
            named = await attempt(running.url(), resolver=Names(["::1"]))
            literal = await attempt(running.url("[::1]"), resolver=Names(["::1"]))
    except OSError:
        pytest.skip("this machine has no IPv6")

    assert (summary(named), summary(literal)) == ((None, 200), (None, 200))
    assert f"host: [::1]:{running.port}".encode() in running.requests[1][0].lower()


async def test_the_address_that_works_is_found_behind_one_that_does_not() -> None:
    async with receiver(answers(OK + b"\r\n")) as running:
        outcome = await attempt(running.url(), resolver=Names(["127.0.0.2", "127.0.0.1"]))

    assert summary(outcome) == (None, 200)


# Forbidden addresses.

#: How 127.0.0.1 can be written.
LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "017700000001", "2130706433", "127.0.0.1.",
    "localhost", "localhost.", "a.localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::]", "0.0.0.0", "0",
]  # fmt: skip
TRICKS = [
    "\N{CIRCLED DIGIT ONE}27.0.0.1", "127\N{IDEOGRAPHIC FULL STOP}0.0\N{IDEOGRAPHIC FULL STOP}1",
    "\N{FULLWIDTH DIGIT ONE}27.1", "user@127.0.0.1", "user:password@receiver.test", "@127.0.0.1", "1.1.1.1@127.0.0.1",
    "127.0.0.1%00.receiver.test", "receiver.test\\@127.0.0.1", "[fe80::1%25lo]", "[::1%25lo]", "%31%32%37.0.0.1",
]  # fmt: skip


async def _system(host: str, port: int) -> Sequence[str]:
    """The system's own resolver, and what a name of the test means."""
    if host.startswith("receiver.test"):
        return ["127.0.0.1"]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@pytest.mark.parametrize("host", [*LOOPBACK, *TRICKS, "receiver.test", "receiver.test."])
async def test_no_notation_leads_to_this_machine(host: str) -> None:
    with hostile.sniffer() as sniffer:
        outcome = await attempt(f"http://{host}:{sniffer.port}/", policy=ANY_PORT, resolver=_system)

        assert outcome.error in (AttemptError.BLOCKED_ADDRESS, AttemptError.DNS)
        assert sniffer.came() == 0


async def test_the_sniffer_would_have_seen_a_connection() -> None:
    with hostile.sniffer() as sniffer:
        await attempt(f"http://127.1:{sniffer.port}/", resolver=_system, deadline_seconds=0.2)

        assert sniffer.came() == 1


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
        ["2606:4700::1111", "::1"],
        ["1.1.1.1", "169.254.169.254"],
        ["64:ff9b::7f00:1"],
        ["::ffff:127.0.0.1"],
        ["0.0.0.0"],
        [],
        ["nonsense"],
    ],
)
async def test_one_forbidden_address_among_others_is_enough(found: Sequence[str]) -> None:
    wire = Wire()
    with hostile.sniffer() as sniffer:
        outcome = await attempt(
            f"http://receiver.test:{sniffer.port}/", policy=ANY_PORT, resolver=Names(found), backend=wire
        )

        assert summary(outcome) == (AttemptError.BLOCKED_ADDRESS, None)
        assert sniffer.came() == 0
    assert wire.tried == []


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.170.2", "fe80::a9fe:a9fe", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "::"],
)
async def test_metadata_stays_out_of_reach_where_private_receivers_are_allowed(address: str) -> None:
    wire = Wire()
    named = await attempt("http://receiver.test/", resolver=Names([address]), backend=wire)
    host = f"[{address}]" if ":" in address else address
    literal = await attempt(f"http://{host}/", resolver=Names([address]), backend=wire)

    assert {summary(named), summary(literal)} == {(AttemptError.BLOCKED_ADDRESS, None)}
    assert wire.tried == []


class Unreachable(Wire):
    """Connects to nothing."""

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.tried.append(host)
        raise httpcore.ConnectError


async def test_a_name_that_becomes_private_after_the_check_is_connected_at_the_checked_address() -> None:
    # The first answer is public; whoever asks once more would be led to this machine.
    names, wire = Names(["1.1.1.1"], ["127.0.0.1"]), Unreachable()
    with hostile.sniffer() as sniffer:
        url = f"http://changing.test:{sniffer.port}/"
        first = await attempt(url, policy=ANY_PORT, resolver=names, backend=wire)
        assert (first.error, wire.tried, names.requested) == (AttemptError.CONNECT, ["1.1.1.1"], ["changing.test"])

        # The next attempt checks anew.
        second = await attempt(url, policy=ANY_PORT, resolver=names, backend=wire)
        assert (second.error, wire.tried) == (AttemptError.BLOCKED_ADDRESS, ["1.1.1.1"])
        assert sniffer.came() == 0


async def test_nothing_is_sent_on_a_connection_that_leads_elsewhere() -> None:
    class Elsewhere(Wire):
        async def connect_tcp(self, host: str, *arguments: Any, **options: Any) -> httpcore.AsyncNetworkStream:
            return await super().connect_tcp("127.0.0.1", *arguments, **options)

    received: list[bytes] = []
    ended = asyncio.Event()

    async def record(_: Receiver, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            received.append(await reader.read())
        ended.set()

    async with receiver(record) as running:
        outcome = await attempt(running.url(), policy=ANY_PORT, resolver=Names(["1.1.1.1"]), backend=Elsewhere())
        async with asyncio.timeout(PATIENCE):
            await ended.wait()

    assert summary(outcome) == (AttemptError.BLOCKED_ADDRESS, None)
    assert b"".join(received) == b""


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("location", [METADATA, "http://127.0.0.1:{port}/", "//receiver.test:{port}/", "/elsewhere"])
async def test_no_redirect_is_followed(status: int, location: str) -> None:
    with hostile.sniffer() as sniffer:
        target = location.format(port=sniffer.port)
        response = f"HTTP/1.1 {status} Go\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        names, wire = Names(), Wire()
        async with receiver(answers(response)) as running:
            outcome = await attempt(running.url(), resolver=names, backend=wire)

            assert sniffer.came() == 0
            assert (len(names.requested), wire.tried, running.connections) == (1, ["127.0.0.1"], 1)

    assert summary(outcome) == (AttemptError.REDIRECT_REFUSED, status)
    assert target in outcome.message


@pytest.mark.parametrize("port", [22, 25, 6379, 5432, 81, 65535])
async def test_other_ports_are_forbidden_before_a_name_is_resolved(port: int) -> None:
    names = Names(["1.1.1.1"])
    outcome = await attempt(f"http://receiver.test:{port}/", policy=AddressPolicy(), resolver=names)

    assert summary(outcome) == (AttemptError.BLOCKED_ADDRESS, None)
    assert outcome.message == f"Port {port} is not allowed."
    assert names.requested == []


@pytest.mark.parametrize(
    "url",
    [
        "", "nonsense", "//receiver.test/", "ftp://receiver.test/", "file:///etc/passwd", "gopher://receiver.test/_",
        "http:///hook", "http://", "http://receiver.test:0x50/", "http://receiver.test:99999/", "http://[::1/",
        "http://receiver.test:80 /", "http://receiver.test\r\nX: y/", "http://rece\x00iver.test/", "HTTP:receiver.test",
        "unix:///run/docker.sock", "http+unix://x/", "ws://receiver.test/", "http://user:hidden@receiver.test/",
        "http://user@receiver.test/", "http://:hidden@receiver.test/",
    ],
)  # fmt: skip
async def test_what_is_no_plain_web_address_is_not_posted_to(url: str) -> None:
    names, wire = Names(["1.1.1.1"]), Unreachable()
    outcome = await attempt(url, policy=ANY_PORT, resolver=names, backend=wire)

    assert summary(outcome) == (AttemptError.BLOCKED_ADDRESS, None)
    assert (names.requested, wire.tried) == ([], [])
    assert "hidden" not in outcome.message


async def test_a_name_that_does_not_exist() -> None:
    names = Names(socket.gaierror(socket.EAI_NONAME, "no"))
    outcome = await attempt("http://receiver.test/", resolver=names)

    assert summary(outcome) == (AttemptError.DNS, None)
    assert outcome.message.startswith("The name of the receiver's host cannot be resolved")


async def test_the_time_of_an_attempt_is_measured() -> None:
    began = time.monotonic()
    outcome = await against(answers(OK + b"\r\n"))

    assert 0 <= outcome.duration_ms <= (time.monotonic() - began) * 1000


# The event loop of the services.


def test_attempts_end_alike_on_the_event_loop_of_the_services(tmp_path: Path) -> None:
    async def outcomes() -> list[tuple[AttemptError | None, int | None]]:
        found = [
            await against(answers(OK + b"Content-Length: 2\r\n\r\nok")),
            await against(answers(OK + b"Content-Length: 9\r\n\r\nab", then="reset")),
            await against(repeats(OK + b"Content-Length: 10485760\r\n\r\n", b"y" * KIBIBYTE)),
            await against(repeats(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 40)),
            await against(hostile.hangs, deadline_seconds=1.0),
            await against(answers(OK), resolver=Names(["127.0.0.1", "169.254.169.254"])),
        ]
        async with tls_receiver(tmp_path, "receiver.test") as (running, trusting):
            found.append(await attempt(running.url(scheme="https"), tls=trusting))
            found.append(await attempt(running.url("other.test", scheme="https"), tls=trusting))
        async with receiver(hostile.hangs) as running:
            found.append(await attempt(running.url(scheme="https"), deadline_seconds=1.0))
        return [summary(outcome) for outcome in found]

    assert uvloop.run(outcomes()) == [
        (None, 200),
        (AttemptError.PROTOCOL, 200),
        (None, 200),
        (AttemptError.PROTOCOL, None),
        (AttemptError.TIMEOUT_HEADERS, None),
        (AttemptError.BLOCKED_ADDRESS, None),
        (None, 200),
        (AttemptError.TLS, None),
        (AttemptError.TLS, None),
    ]
