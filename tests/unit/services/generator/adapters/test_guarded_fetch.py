"""Addresses from outside are fetched only where they are public, within bounds, at the address that was checked."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import pytest

from common.memory import STEP, Memory
from common.network.addresses import is_public
from services.generator.adapters.images.guarded_fetch import COPIES, Bounds, GuardedFetch
from services.generator.domain.provider_results import FetchError, StageError
from tests.support.providers.paid_provider import png
from tests.support.servers.tcp_servers import tcp_server

PICTURE = png()

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "1.1.1.1"]
PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
]


class Resolver:
    """Answers as scripted: the n-th question gets the n-th answer, then the last again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Addresses of the host."""
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@asynccontextmanager
async def server(answer: bytes, *, hang: bool = False) -> AsyncIterator[int]:
    """A server that gives every request the same answer, byte for byte, and closes or hangs."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hang:
            await asyncio.Event().wait()

    async with tcp_server(serve) as port:
        yield port


def http(body: bytes = b"picture", *, status: str = "200 OK", headers: str = "") -> bytes:
    """An answer on the wire."""
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n".encode() + body


def bare_deflate(data: bytes) -> bytes:
    """Packed without a wrapper."""
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush()


async def refusal_of(fetch: GuardedFetch, url: str, **options: object) -> StageError:
    """Why it is not fetched."""
    with pytest.raises(StageError) as refusal:
        await fetch.fetch(url, **options)  # type: ignore[arg-type]
    await fetch.close()
    return refusal.value


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_open_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_everything_else_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PRIVATE[:6])
async def test_a_host_with_a_private_address_is_not_fetched(address: str) -> None:
    refusal = await refusal_of(GuardedFetch(resolver=Resolver([address])), "http://pictures.example/a.png")

    assert (refusal.code, refusal.reason, refusal.retryable) == ("PERMANENT", "FORBIDDEN_ADDRESS", False)


async def test_one_private_address_among_public_ones_is_enough() -> None:
    fetch = GuardedFetch(resolver=Resolver([PUBLIC[0], "10.0.0.1"]))

    assert (await refusal_of(fetch, "http://pictures.example/a.png")).reason == "FORBIDDEN_ADDRESS"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://pictures.example/a",
        "gopher://pictures.example",
        "http://user:secret@pictures.example/a",
        "http:///a",
        "http://pictures.example:99999/a",
        "//pictures.example/a",
        "data:image/png;base64,AAAA",
    ],
)
async def test_what_is_no_plain_web_address_is_not_fetched(url: str) -> None:
    refusal = await refusal_of(GuardedFetch(resolver=Resolver([PUBLIC[0]])), url)

    assert refusal.reason == "FORBIDDEN_ADDRESS"
    assert "secret" not in refusal.message


async def test_the_providers_own_host_is_trusted() -> None:
    async with server(http()) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        data = await fetch.fetch(f"http://own.example:{port}/a", trusted_host=f"own.example:{port}")
        await fetch.close()

    assert data == b"picture"


async def test_another_port_of_the_providers_own_host_is_not() -> None:
    fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))

    assert (await refusal_of(fetch, "http://own.example:1/a", trusted_host="own.example:80")).reason == (
        "FORBIDDEN_ADDRESS"
    )


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    # A second look at the name would give another address: the one that is served here is used.
    async with server(http()) as port:
        resolver = Resolver(["127.0.0.1"], ["203.0.113.1"])
        fetch = GuardedFetch(resolver=resolver)
        data = await fetch.fetch(f"http://changing.example:{port}/a", allow_private=True)
        await fetch.close()

    assert (data, resolver.asked) == (b"picture", ["changing.example"])


async def test_nothing_is_sent_on_a_connection_that_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(1))

    open_connection = httpcore.AnyIOBackend.connect_tcp

    async def lead_elsewhere(backend: httpcore.AnyIOBackend, host: str, *args: Any, **options: Any) -> Any:
        assert host == "127.0.0.2"
        return await open_connection(backend, "127.0.0.1", *args, **options)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", lead_elsewhere)
    async with tcp_server(serve) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.2"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", allow_private=True)

    assert refusal.reason == "FORBIDDEN_ADDRESS"
    assert b"".join(received) == b""


async def test_a_redirect_is_checked_like_the_address_itself() -> None:
    async with server(http(b"", status="302 Found", headers="Location: http://inside.example/\r\n")) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"], ["10.1.2.3"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", trusted_host=f"own.example:{port}")

    assert refusal.reason == "FORBIDDEN_ADDRESS"


async def test_redirects_come_to_an_end() -> None:
    async with server(http(b"", status="302 Found", headers="Location: /again\r\n")) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", allow_private=True)

    assert refusal.message == "The image's URL redirects too often."


@pytest.mark.parametrize("headers", ["Content-Length: 5000000\r\n", ""])
async def test_a_body_over_its_limit_is_not_read_to_the_end(headers: str) -> None:
    async with server(http(b"x" * 300_000, headers=headers)) as port:
        fetch = GuardedFetch(bounds=Bounds(max_bytes=100_000), resolver=Resolver(["127.0.0.1"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", allow_private=True)

    assert (refusal.code, refusal.reason) == ("PERMANENT", "TOO_LARGE")


@pytest.mark.parametrize("answer", [b"", http(b"half", headers="Content-Length: 100\r\n")], ids=["mute", "half"])
async def test_a_server_that_takes_too_long_is_left(answer: bytes) -> None:
    async with server(answer, hang=True) as port:
        fetch = GuardedFetch(bounds=Bounds(seconds=0.3), resolver=Resolver(["127.0.0.1"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", allow_private=True)

    assert (refusal.code, refusal.reason, refusal.retryable) == ("TEMPORARY", "FETCH_FAILED", True)


async def refused(answer: bytes, **bounds: float) -> FetchError:
    """Why an answer is no file."""
    async with server(answer) as port:
        fetch = GuardedFetch(bounds=Bounds(**bounds), resolver=Resolver(["127.0.0.1"]))  # type: ignore[arg-type]
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", allow_private=True)
    assert isinstance(refusal, FetchError)
    assert refusal.reason == "FETCH_FAILED"
    return refusal


@pytest.mark.parametrize("status", ["202 Accepted", "204 No Content", "403 Forbidden", "404 Not Found", "410 Gone"])
async def test_what_is_not_there_may_appear_for_a_while(status: str) -> None:
    refusal = await refused(http(b"", status=status), appears_within_seconds=7)

    assert (refusal.retryable, refusal.appears_within_seconds) == (False, 7)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_passes_may_be_asked_for_as_long_as_there_is_time(status: int) -> None:
    assert (await refused(http(b"", status=f"{status} So"))).retryable


@pytest.mark.parametrize("status", [304, 400, 401, 402, 405, 406, 414, 416, 451, 501, 505])
async def test_what_is_hopeless_is_not_asked_for_again(status: int) -> None:
    refusal = await refused(http(b"", status=f"{status} No"))

    assert (refusal.retryable, refusal.appears_within_seconds) == (False, 0)


@pytest.mark.parametrize(("named", "seconds"), [("Retry-After: 12\r\n", 12.0), ("", None)])
async def test_a_server_may_say_when_to_ask_again(named: str, seconds: float | None) -> None:
    assert (await refused(http(b"", status="503 Busy", headers=named))).retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK", ""),
        ("201 Created", ""),
        ("202 Accepted", ""),
        ("203 Other", ""),
        ("206 Partial", "Content-Range: bytes 0-{last}/{all}\r\n"),
        ("206 Partial", ""),
    ],
)
async def test_a_success_that_brings_the_whole_file_is_taken(status: str, headers: str) -> None:
    told = headers.format(last=len(PICTURE) - 1, all=len(PICTURE))
    async with server(http(PICTURE, status=status, headers=told)) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        data = await fetch.fetch(f"http://own.example:{port}/a", allow_private=True)
        await fetch.close()

    assert data == PICTURE


async def test_a_file_that_is_shorter_than_was_told_is_asked_for_again_and_what_came_is_kept() -> None:
    refusal = await refused(http(PICTURE, headers=f"Content-Length: {len(PICTURE) + 9}\r\n"))

    assert (refusal.retryable, refusal.received) == (True, PICTURE)


@pytest.mark.parametrize("told", ["bytes 0-6/100", "bytes 1-7/8", "bytes 0-6/*", "some"])
async def test_a_part_of_a_file_is_asked_for_again(told: str) -> None:
    refusal = await refused(http(status="206 Partial", headers=f"Content-Range: {told}\r\n"))

    assert (refusal.retryable, refusal.received) == (True, b"picture")


@pytest.mark.parametrize(("status", "came"), [("202 Accepted", b"picture"), ("404 Not Found", b"")])
async def test_what_a_success_brings_is_kept_even_if_it_looks_like_no_image(status: str, came: bytes) -> None:
    assert (await refused(http(status=status))).received == came


async def test_a_refused_connection_may_be_tried_again() -> None:
    refusal = await refusal_of(
        GuardedFetch(resolver=Resolver(["127.0.0.1"])), "http://own.example:1/a", allow_private=True
    )

    assert (refusal.reason, refusal.retryable) == ("FETCH_FAILED", True)


async def test_another_address_of_the_host_is_tried_when_the_first_cannot_be_reached() -> None:
    async with server(http()) as port:
        # Nobody listens at the second address of this machine.
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.2", "127.0.0.1"]))
        data = await fetch.fetch(f"http://own.example:{port}/a", allow_private=True)
        await fetch.close()

    assert data == b"picture"


async def test_a_host_is_named_as_the_address_names_it_and_told_nothing_else_about_us() -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(headers="Set-Cookie: who=you; Path=/\r\n"))
        await writer.drain()

    async with tcp_server(serve) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        for _ in range(2):
            await fetch.fetch(f"http://own.example:{port}/a?b=c", allow_private=True)
        await fetch.close()

    for request in asked:
        line, *headers = request.decode().strip().split("\r\n")
        names = {name.lower() for name, _, _ in (header.partition(":") for header in headers)}
        assert line == "GET /a?b=c HTTP/1.1"
        assert f"Host: own.example:{port}" in headers
        assert not names & {"cookie", "authorization", "referer"}


@pytest.mark.parametrize("label", ["gzip", "x-gzip", "deflate", "br", ""])
@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, zlib.compress, bare_deflate, lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])],
    ids=["not packed", "gzip", "zlib", "deflate", "two members"],
)
async def test_a_file_that_is_stored_packed_is_unpacked(label: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(PICTURE)
    is_told = packed == PICTURE or packed.startswith(b"\x1f\x8b") or label == "deflate"
    async with server(http(packed, headers=f"Content-Encoding: {label}\r\n" if label else "")) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        data = await fetch.fetch(f"http://own.example:{port}/a", allow_private=True)
        await fetch.close()

    assert data == (PICTURE if is_told else packed)


async def test_a_small_body_that_unpacks_to_a_large_one_is_too_large() -> None:
    packed = gzip.compress(bytes(10_000_000))
    async with server(http(packed, headers="Content-Encoding: gzip\r\n")) as port:
        fetch = GuardedFetch(bounds=Bounds(max_bytes=100_000), resolver=Resolver(["127.0.0.1"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", allow_private=True)

    assert refusal.reason == "TOO_LARGE"


async def test_what_a_body_unpacks_to_waits_for_memory() -> None:
    memory, size = Memory(64 * STEP), 4 * STEP
    held = []
    async with server(http(gzip.compress(bytes(size)))) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        with memory.share(until=time.monotonic() + 60) as share:
            await fetch.fetch(f"http://own.example:{port}/a", allow_private=True)
            held.append(share.held)
        await fetch.close()

    assert held == [(COPIES + 1) * size]


@asynccontextmanager
async def hosts(**answers: str) -> AsyncIterator[tuple[int, list[tuple[str, str]]]]:
    """A server of several hosts, each with a place that it redirects to, or a file; and who was sent which key."""
    asked: list[tuple[str, str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        host = headers["host"].partition(".")[0]
        asked.append((host, headers.get("authorization", "")))
        led = answers.get(host)
        status, extra = ("302 Found", f"Location: {led.format(port=port)}\r\n") if led else ("200 OK", "")
        writer.write(http(status=status, headers=extra))
        await writer.drain()

    async with tcp_server(serve) as port:
        yield port, asked


async def test_a_credential_goes_to_whom_it_is_for_and_nowhere_that_he_sends_to() -> None:
    led = {"own": "http://cdn.example:{port}/b", "cdn": "http://own2.example:{port}/c"}
    async with hosts(**led) as (port, asked):

        def credential_for(url: str) -> Mapping[str, str]:
            return {"Authorization": "Key k"} if url.startswith((f"http://own.example:{port}/", "http://own2.")) else {}

        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        await fetch.fetch(f"http://own.example:{port}/a", allow_private=["127.0.0.0/8"], credential_for=credential_for)
        await fetch.close()

    assert asked == [("own", "Key k"), ("cdn", ""), ("own2", "")]


async def test_a_caller_may_want_less_than_the_guard_allows() -> None:
    async with server(http(b"x" * 2000)) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", allow_private=True, max_bytes=1000)

    assert refusal.reason == "TOO_LARGE"


@pytest.mark.parametrize("location", ["http://[::1", "http://own.example:99999/", "\x00", "http://a\x00b/"])
async def test_a_redirect_to_nonsense_is_refused(location: str) -> None:
    async with server(http(b"", status="302 Found", headers=f"Location: {location}\r\n")) as port:
        fetch = GuardedFetch(resolver=Resolver(["127.0.0.1"]))
        refusal = await refusal_of(fetch, f"http://own.example:{port}/a", trusted_host=f"own.example:{port}")

    assert refusal.reason in ("FORBIDDEN_ADDRESS", "FETCH_FAILED")
