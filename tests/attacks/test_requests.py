"""Bytes that two readers of HTTP could take for different requests, against the gateway's real server."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import pairwise

import h11
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.framing import HEADER_LIMIT, MAX_HEAD_BYTES, StrictConnection
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.patience import PATIENCE

STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
SECOND = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
AMBIGUOUS = {
    "two lengths": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two lengths the other way round": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    + SECOND,
    "chunks in HTTP/1.0": POST.replace(b"/1.1", b"/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "HTTP/2.0": HEAD.replace(b"/1.1", b"/2.0") + b"\r\n" + SECOND,
    "HTTP/1.9": HEAD.replace(b"/1.1", b"/1.9") + b"\r\n" + SECOND,
    "HTTP/0.9": HEAD.replace(b"/1.1", b"/0.9") + b"\r\n" + SECOND,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a folded header": HEAD + b"X-A: b\r\n c\r\n\r\n" + SECOND,
    "a header folded with a tab": HEAD + b"X-A: b\r\n\tc\r\n\r\n" + SECOND,
    "a folded Transfer-Encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "LF alone": (HEAD + b"\r\n").replace(b"\r\n", b"\n") + SECOND,
    "LF alone behind one header": HEAD + b"X-A: b\nX-B: c\r\n\r\n" + SECOND,
    "LF alone as the empty line": HEAD + b"\n" + SECOND,
    "LF alone before the request": b"\n" + HEAD + b"\r\n" + SECOND,
    "LF alone in trailers": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\n\r\n" + SECOND,
    "LF alone behind the last chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\n" + SECOND,
    "a folded trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n c\r\n\r\n" + SECOND,
}
TOO_MUCH = {
    "a header of 80 kB": HEAD + b"X-A: " + b"a" * 80_000 + b"\r\n\r\n" + SECOND,
    "one byte too many": HEAD + b"X-A: " + b"a" * (MAX_HEAD_BYTES - len(HEAD) - 8) + b"\r\n\r\n" + SECOND,
    "an address of 80 kB": b"GET /" + b"a" * 80_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "one header too many": HEAD + b"".join(b"a: b\r\n" for _ in range(HEADER_LIMIT)) + b"\r\n" + SECOND,
    "5,000 headers": HEAD + b"".join(b"a: b\r\n" for _ in range(5_000)) + b"\r\n" + SECOND,
    "5,000 trailers": POST
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"".join(b"a: b\r\n" for _ in range(5_000))
    + b"\r\n"
    + SECOND,
}
REFUSED = AMBIGUOUS | TOO_MUCH
#: What looks like the above and is not.
FINE = {
    "LF in a body": POST + b"Content-Length: 3\r\n\r\n\n \n",
    "LF in a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\n\n \n\r\n0\r\n\r\n",
    "a trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\r\n\r\n",
    "the largest head": HEAD + b"X-A: " + b"a" * (MAX_HEAD_BYTES - len(HEAD) - 9) + b"\r\n\r\n",
    "as many headers as may be": HEAD + b"".join(b"a: b\r\n" for _ in range(HEADER_LIMIT - 1)) + b"\r\n",
}


@pytest.fixture
async def gateway() -> AsyncIterator[httpx.AsyncClient]:
    """The gateway behind its real server."""
    async with (
        serving(FakeJobService()) as address,
        assembled(address) as (app, parts),
        over_http(app, parts) as client,
    ):
        yield client


async def _answers(gateway: httpx.AsyncClient, parts: Sequence[bytes]) -> bytes:
    """All that comes for bytes that are sent in these parts, until the gateway closes."""
    reader, writer = await asyncio.open_connection(gateway.base_url.host, gateway.base_url.port)
    try:
        # What is refused may be so before it was all sent.
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        try:
            return await asyncio.wait_for(reader.read(), PATIENCE)
        except ConnectionResetError:
            return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def _check_refused(answers: bytes) -> None:
    """One 400 as a problem, and nothing behind it."""
    assert STATUS.findall(answers) == [b"400"]
    head, _, body = answers.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["reason"] == "MALFORMED"


@pytest.mark.parametrize("name", REFUSED)
async def test_what_two_readers_could_take_differently_is_refused_and_nothing_behind_it_is_answered(
    gateway: httpx.AsyncClient, name: str
) -> None:
    _check_refused(await _answers(gateway, [REFUSED[name]]))


@pytest.mark.parametrize("name", FINE)
async def test_what_every_reader_takes_for_one_request_is_answered_and_so_is_the_next(
    gateway: httpx.AsyncClient, name: str
) -> None:
    answers = await _answers(gateway, [FINE[name], SECOND])

    assert len(statuses := STATUS.findall(answers)) == 2
    assert statuses[1] == b"200"
    assert b"not a request as HTTP" not in answers


@settings(max_examples=200)
@given(name=st.sampled_from(sorted(REFUSED | FINE)), data=st.data())
def test_wherever_its_bytes_are_cut_a_request_means_the_same(name: str, data: st.DataObject) -> None:
    sent = (REFUSED | FINE)[name].removesuffix(SECOND)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8))), len(sent)]
    parts = [sent[begin:end] for begin, end in pairwise(cuts) if begin < end]

    if name in FINE:
        assert h11.EndOfMessage in _events(parts)
    else:
        with pytest.raises(h11.RemoteProtocolError):
            _events(parts)


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_comes_byte_by_byte_is_refused_too(name: str) -> None:
    sent = AMBIGUOUS[name].removesuffix(SECOND)

    with pytest.raises(h11.RemoteProtocolError):
        _events([sent[at : at + 1] for at in range(len(sent))])


def _events(parts: Sequence[bytes]) -> set[type[object]]:
    """Kinds of what a connection reads from these parts."""
    connection, seen = StrictConnection(), set()
    for part in parts:
        connection.receive_data(part)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            seen.add(type(event))
    return seen
