"""Hostile requests, as bytes on a connection, and the statuses that may be returned for them."""

import asyncio
import gzip
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from cli.stack.state import StackState
from tests.support.gateway.expired_tokens import expired_token
from tests.support.patience import PATIENCE
from tests.support.stacks.tenants import set_tenant

MIB = 1024 * 1024
_STRANGER = "a-key-of-a-strangers-own-0123456789abcdef"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A gateway, a caller's key, a job of the caller with tokens that read it, and a job of another tenant.

    `token` is valid, `expired` was.
    """

    host: str
    port: int
    key: str
    job: str
    token: str
    expired: str
    strangers_job: str


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Bytes to send, made anew each time, and the expected statuses; 0 is a closed connection."""

    name: str
    expected_statuses: frozenset[int]
    make: Callable[[Target, random.Random], bytes]
    #: So often as one of the others.
    weight: float = 1.0


def request(
    method: str, path: str, *headers: str, key: str | None = None, body: bytes = b"", length: int | None = None
) -> bytes:
    """One HTTP request, its connection closed afterwards; `length` states another than the body has."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"Content-Length: {len(body) if length is None else length}"] if method == "POST" else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _post(body: bytes, *headers: str, path: str = "/v1/jobs", length: int | None = None) -> Callable[..., bytes]:
    kind = () if any(header.startswith("Content-Type") for header in headers) else ("Content-Type: application/json",)
    return lambda target, _: request("POST", path, *kind, *headers, key=target.key, body=body, length=length)


def _any_of(*requests: Callable[[Target], bytes]) -> Callable[[Target, random.Random], bytes]:
    return lambda target, rng: rng.choice(requests)(target)


def _chunked(target: Target, _: random.Random) -> bytes:
    head = request("PUT", "/v1/jobs", "Content-Type: application/json", "Transfer-Encoding: chunked", key=target.key)
    size = 57 * MIB
    return head.replace(b"PUT", b"POST", 1) + f"{size:x}\r\n".encode() + b"a" * size + b"\r\n0\r\n\r\n"


def _bad_token(target: Target, rng: random.Random) -> bytes:
    whole = target.token
    cut = rng.randrange(1, len(whole))
    other = whole[: cut - 1] + ("A" if whole[cut - 1] != "A" else "B") + whole[cut:]
    forged = (whole[:cut], whole + "A", other, "..", f"eyJhbGciOiJub25lIn0.{whole}", "A" * 8_000)
    token = rng.choice([*forged, target.expired])
    return rng.choice(
        [
            request("GET", f"/v1/jobs/{target.job}", key=token),
            request("GET", f"/v1/jobs/{target.job}/events?access_token={token}"),
        ]
    )


def _strange(target: Target, rng: random.Random) -> bytes:
    path = f"/v1/jobs/{target.strangers_job}"
    credential = rng.choice([target.key, target.token])
    method, rest = rng.choice(
        [("GET", ""), ("GET", "/events"), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/attempts")]
    )
    return request(method, path + rest, key=credential)


_TRICKS = (
    "/v1/jobs/../../../etc/passwd",
    "/v1/jobs/%2e%2e/%2e%2e/healthz",
    "//v1//jobs",
    "/v1/jobs/%00",
    "/v1/jobs/%ff%fe",
    "/v1/jobs/..%5c..%5c",
    "/v1/jobs/job_" + "a" * 60_000,
    "/v1/jobs/'%20OR%201=1--",
    "/v1/jobs/%0d%0aX-Injected:%20yes",
    "/v1/jobs;jsessionid=1",
    "/V1/JOBS",
)
_QUERIES = (
    "page_token=../..",
    "page_token=" + "A" * 8_000,
    "created_after=yesterday",
    "page_size=9999999999999999999999",
    "status=queued%00",
    "&".join(f"metadata.k{number}=v" for number in range(500)),
    "nobody=asked",
)
_BAD_JSON = (
    b"[" * 200_000,
    b'{"prompt":' * 50_000,
    b'{"metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    b'{"prompt": "\xff\xfe"}',
    '{"prompt": "wide"}'.encode("utf-16"),
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "a\\u0000b"}',
    b'{"prompt": "a", "prompt": "b"}',
    b'{"prompt": "a", "seed": ' + b"9" * 50_000 + b"}",
    b'{"prompt": "a", "seed": 1e999}',
    b'{"prompt": "a", "n": NaN}',
    b'{"prompt": ' + b'"' + b"\xf0\x9f\x8e\xa8" * 40_000 + b'"}',
    b"null",
    b"",
)
_FORM = "Content-Type: multipart/form-data; boundary=b"
_BAD_FORMS = (
    b"--b\r\n" * 20_000,
    b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nnever ended',
    b"--b\r\n" + b"X: y\r\n" * 5_000,
    b"--b" + b" " * 200_000,
    b"no form at all",
)
_REFUSED = frozenset({400, 404, 405, 413, 415, 422})
ATTACKS: Sequence[Attack] = (
    Attack(
        name="JSON",
        expected_statuses=_REFUSED,
        make=_any_of(*[lambda t, b=b: _post(b)(t, None) for b in _BAD_JSON]),
        weight=4,
    ),
    Attack(name="length", expected_statuses=frozenset({413}), make=_post(b"{", length=10**9), weight=0.2),
    Attack(name="endless", expected_statuses=frozenset({413}), make=_chunked, weight=0.02),
    Attack(name="large", expected_statuses=frozenset({400, 503}), make=_post(b"a" * (20 * MIB)), weight=0.02),
    Attack(
        name="zipped",
        expected_statuses=frozenset({415}),
        make=_post(gzip.compress(bytes(MIB)), "Content-Encoding: gzip"),
    ),
    Attack(
        name="form",
        expected_statuses=frozenset({400, 422}),
        make=_any_of(*[lambda t, b=b: _post(b, _FORM, path="/v1/images/edits")(t, None) for b in _BAD_FORMS]),
    ),
    Attack(
        name="headers",
        expected_statuses=frozenset({200, 400}),
        make=_any_of(
            lambda t: request("GET", "/v1/jobs", *[f"X-{number}: y" for number in range(3_000)], key=t.key),
            lambda t: request("GET", "/v1/jobs", "X: " + "y" * 40_000, key=t.key),
            lambda t: request("GET", "/v1/jobs", *["Cookie: a=b"] * 2_000, key=t.key),
        ),
    ),
    Attack(
        name="head", expected_statuses=frozenset({400}), make=lambda _, __: b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000
    ),
    Attack(
        name="wire",
        expected_statuses=frozenset({400}),
        make=_any_of(
            lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
            lambda _: b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            lambda _: b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            lambda _: b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        ),
    ),
    Attack(name="gone", expected_statuses=frozenset({0}), make=lambda _, __: b""),
    Attack(
        name="path",
        expected_statuses=_REFUSED,
        make=_any_of(*[lambda t, p=p: request("GET", p, key=t.key) for p in _TRICKS]),
        weight=2,
    ),
    Attack(
        name="query",
        expected_statuses=frozenset({200, 400, 422}),
        make=_any_of(*[lambda t, q=q: request("GET", f"/v1/jobs?{q}", key=t.key) for q in _QUERIES]),
    ),
    Attack(
        name="method",
        expected_statuses=_REFUSED,
        make=_any_of(*[lambda t, m=m: request(m, "/v1/jobs", key=t.key) for m in ("TRACE", "BREW", "PUT", "PATCH")]),
    ),
    Attack(name="strange", expected_statuses=frozenset({403, 404}), make=_strange, weight=2),
    Attack(name="token", expected_statuses=frozenset({401}), make=_bad_token, weight=2),
    Attack(
        name="beyond",
        expected_statuses=frozenset({403}),
        make=_any_of(
            lambda t: request("POST", f"/v1/jobs/{t.job}/cancel", key=t.token),
            lambda t: request("DELETE", f"/v1/jobs/{t.job}", key=t.token),
            lambda t: request("GET", "/v1/jobs", key=t.token),
            lambda t: request("GET", "/v1/admin/queue", key=t.key),
        ),
    ),
    Attack(
        name="conditions",
        expected_statuses=frozenset({200, 400, 422}),
        make=_any_of(
            lambda t: request("GET", f"/v1/jobs/{t.job}", "Prefer: wait=" + "9" * 400, key=t.key),
            lambda t: request("GET", f"/v1/jobs/{t.job}", "If-None-Match: " + '"a",' * 5_000, key=t.key),
            lambda t: request("GET", f"/v1/jobs/{t.job}/events", "Last-Event-ID: -1", key=t.key),
            lambda t: request("GET", f"/v1/jobs/{t.job}", "traceparent: 00-" + "f" * 5_000, key=t.key),
            lambda t: _post(b'{"prompt": "a"}', "Idempotency-Key: " + "k" * 300)(t, None),
        ),
    ),
)


async def send(target: Target, sent: bytes) -> tuple[int, bytes]:
    """Returns the status and the head and body of the response; 0 for none. Raises `TimeoutError`."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            # The server may respond, and close, before it has received everything.
            with suppress(ConnectionError):
                writer.write(sent)
                await writer.drain()
            if not sent:
                return 0, b""
            response = b""
            with suppress(ConnectionError):
                while len(response) < MIB and (part := await reader.read(MIB)):
                    response += part
                    if b"content-type: text/event-stream" in response.lower():
                        # It goes on for as long as its job does.
                        break
            return (int(response[9:12]) if response.startswith(b"HTTP/1.1 ") else 0), response
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def trickle(target: Target, seconds: float) -> None:
    """A body that comes byte by byte, and is left unfinished."""
    reader, writer = await asyncio.open_connection(target.host, target.port)
    began = time.monotonic()
    with suppress(ConnectionError):
        writer.write(_post(b"{", length=1_000)(target, None))
        while time.monotonic() < began + seconds and not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.5)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def stand_idle(target: Target, seconds: float) -> int:
    """A stream that is opened and never read; its status."""
    reader, writer = await asyncio.open_connection(target.host, target.port, limit=1_024)
    status = b""
    with suppress(ConnectionError):
        writer.write(request("GET", f"/v1/jobs/{target.job}/events", key=target.key))
        status = (await reader.readline())[9:12]
        await asyncio.sleep(seconds)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return int(status or 0)


def target_of(stack: StackState, folder: Path) -> Target:
    """Returns a running stack as a target, with a second tenant."""
    set_tenant(folder, "stranger", role="tenant", key=_STRANGER)
    where = urlsplit(stack.http)
    assert where.hostname
    assert where.port
    with httpx.Client(base_url=stack.http, trust_env=False, timeout=PATIENCE) as client:
        mine, theirs = ({"Authorization": f"Bearer {key}"} for key in (stack.api_key, _STRANGER))
        deadline = time.monotonic() + PATIENCE
        while client.get("/v1/jobs", headers=theirs).status_code == 401:
            assert time.monotonic() < deadline, "the keys file was not read again"
            time.sleep(0.1)
        wanted = {"prompt": "nobody makes this", "start_within_seconds": 86_400}
        jobs = [client.post("/v1/jobs", json=wanted, headers=who).json()["id"] for who in (mine, theirs)]
        token = client.post("/v1/client-tokens", json={"job_id": jobs[0]}, headers=mine).json()["token"]
    return Target(
        host=where.hostname,
        port=where.port,
        key=stack.api_key,
        job=jobs[0],
        token=token,
        expired=expired_token(jobs[0], stack.api_key),
        strangers_job=jobs[1],
    )
