"""The gateway as a process: its start, its refusals to start, its readiness, its end."""

import asyncio
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from calotype.job.v1 import job_pb2

from cli.stack.ports import free_port
from gateway import job_client, operator_client
from gateway.keys import RELOAD_SECONDS
from tests.support.event_source import events, next_job
from tests.support.fake_job_service import FakeJobService, serving
from tests.support.patience import PATIENCE, pause
from tests.support.scraping import scrape

ROOT = Path(__file__).parents[3]
#: What the gateway asks for that is answered once.
UNARY = {"CreateJob", "GetJob", "ListJobs", "ListAttempts", "ListProviders", "RetryJob", "CancelJob", "DeleteJob"}


async def _start(**settings: str) -> asyncio.subprocess.Process:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    environ |= {f"CALOTYPE_{name}": value for name, value in settings.items()}
    environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environ, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )


async def _refusal(**settings: str) -> tuple[int | None, str]:
    process = await _start(**settings)
    _, said = await asyncio.wait_for(process.communicate(), timeout=PATIENCE)
    return process.returncode, said.decode()


class _Gateway:
    """A gateway that runs.

    All that it writes is read at once: each request makes a line, and a process whose pipe is full stands still.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._lines: list[bytes] = []
        self._has_ended = False
        self._wrote = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def line(self, word: bytes) -> bytes:
        """The first line that holds a word, once it is written."""
        async with asyncio.timeout(PATIENCE), self._wrote:
            while not (found := [line for line in self._lines if word in line]):
                assert not self._has_ended, f"the process ended without {word!r}"
                await self._wrote.wait()
        return found[0]

    async def end(self) -> tuple[int, bytes]:
        """Its exit status, and all that it wrote, once it has ended."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait(), b"".join(self._lines)

    async def kill(self) -> None:
        """End it, unless it has ended."""
        if self.process.returncode is None:
            self.process.kill()
        await self.end()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while not self._has_ended:
            line = await self.process.stderr.readline()
            async with self._wrote:
                self._lines.append(line)
                self._has_ended = not line
                self._wrote.notify_all()


@asynccontextmanager
async def _running(job_address: str, **settings: str) -> AsyncIterator[tuple[_Gateway, httpx.AsyncClient]]:
    process = await _start(HTTP_LISTEN="127.0.0.1:0", JOB_ADDRESS=job_address, LOG_FORMAT="text", **settings)
    gateway = _Gateway(process)
    try:
        port = (await gateway.line(b"http.opened")).decode().rpartition("port=")[2].strip()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
            yield gateway, client
    finally:
        await gateway.kill()


async def _ready(client: httpx.AsyncClient, status: int) -> httpx.Response:
    """Readiness, once it is so; it is looked at once a second by the process itself."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await client.get("/readyz")).status_code != status:
            await pause()
    return answer


async def _answer(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> httpx.Response:
    """What is answered, asked again for as long as job-service, which this busy process is, was not heard in time."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await client.request(method, path, **request)).status_code == 503:
            await pause()
    return answer


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "CALOTYPE_HTTP_LISTEN"),
        ({"HTTP_LISTEN": "127.0.0.1:0"}, "CALOTYPE_JOB_ADDRESS"),
        ({"HTTP_LISTEN": "8080", "JOB_ADDRESS": "127.0.0.1:1"}, "CALOTYPE_HTTP_LISTEN"),
        ({"HTTP_LISTEN": "127.0.0.1:99999", "JOB_ADDRESS": "127.0.0.1:1"}, "CALOTYPE_HTTP_LISTEN"),
        ({"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": "127.0.0.1:1", "HTTP_LISTN": "x"}, "CALOTYPE_HTTP_LISTEN?"),
        ({"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": "127.0.0.1:1", "ADMIN_LISTEN": "9464"}, "CALOTYPE_ADMIN_LISTEN"),
        ({"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": "127.0.0.1:1", "REQUIRE_AUTH": "1"}, "CALOTYPE_API_KEYS_FILE"),
        ({"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": "127.0.0.1:1", "API_KEYS_FILE": "/nowhere"}, "/nowhere"),
        (
            {"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": "127.0.0.1:1", "GRPC_TLS_KEY_FILE": "/tls.key"},
            "CALOTYPE_GRPC_TLS_CERT_FILE is not",
        ),
        ({"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": "127.0.0.1:1", "GRPC_TOKEN": "a b"}, "CALOTYPE_GRPC_TOKEN"),
    ],
)
async def test_a_bad_setting_stops_the_start_with_one_line(settings: dict[str, str], word: str) -> None:
    code, said = await _refusal(**settings)
    assert (code, said.count("\n"), word in said) == (2, 1, True), said


@pytest.mark.parametrize("name", ["HTTP_LISTEN", "ADMIN_LISTEN"])
async def test_a_busy_port_stops_the_start_with_one_line_that_names_its_setting(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        listen = f"127.0.0.1:{busy.getsockname()[1]}"
        settings = {"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": "127.0.0.1:1"} | {name: listen}
        code, said = await _refusal(**settings)
    assert (code, said.count("\n")) == (2, 1), said
    assert f"Cannot listen on {listen} (CALOTYPE_{name})" in said


async def test_it_is_ready_while_job_service_is_and_says_so_quickly_when_it_is_not() -> None:
    service = FakeJobService()
    async with serving(service) as address, _running(address) as (_, client):
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await _ready(client, 200)).json()["status"] == "ok"
        job = service.add()
        assert (await _answer(client, "GET", f"/v1/jobs/{job.id}")).status_code == 200


def test_no_call_to_job_service_may_take_as_long_as_two_seconds() -> None:
    assert max(job_client.CALL_SECONDS, job_client.HEALTH_SECONDS, operator_client.CALL_SECONDS) < 2


async def test_every_call_tells_job_service_how_long_it_waits() -> None:
    service = FakeJobService()
    async with serving(service) as address, _running(address) as (_, client):
        job = service.add(status=job_pb2.STATUS_FAILED)
        await _answer(client, "POST", "/v1/jobs", json={"prompt": "a"})
        for path in ("/v1/jobs", f"/v1/jobs/{job.id}", f"/v1/jobs/{job.id}/attempts", "/v1/providers"):
            await _answer(client, "GET", path)
        for action in ("retry", "cancel"):
            await _answer(client, "POST", f"/v1/jobs/{job.id}/{action}")
        await _answer(client, "DELETE", f"/v1/jobs/{job.id}")
    assert {type(one).__name__.removesuffix("Request") for one in service.asked} >= UNARY
    # What is left when a call arrives is at most what it was given.
    assert max(service.time_left) < 2


async def test_a_job_service_that_is_away_is_told_before_it_is_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    async with _running(address) as (_, client):
        assert (await client.get("/healthz")).status_code == 200
        refused = await _ready(client, 503)
        assert refused.json()["conditions"][0]["name"] == "job-service"
        for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/v1/jobs/job_1/events")):
            answer = await client.request(method, path, json={"prompt": "a"} if method == "POST" else None)
            assert (answer.status_code, answer.json()["reason"]) == (503, "SERVICE_UNAVAILABLE")
            assert answer.headers["retry-after"] == "1"
        service = FakeJobService()
        async with serving(service, address):
            await _ready(client, 200)
            assert (await _answer(client, "POST", "/v1/jobs", json={"prompt": "a"})).status_code == 202


async def test_a_job_service_that_is_not_ready_makes_the_gateway_not_ready() -> None:
    async with serving(FakeJobService(), ok=False) as address, _running(address) as (_, client):
        async with asyncio.timeout(PATIENCE):
            while (await client.get("/readyz")).json()["conditions"][0]["message"] != "is not ready itself":
                await pause()


async def test_told_to_stop_it_ends_streams_finishes_requests_and_exits_with_zero() -> None:
    service = FakeJobService()
    async with serving(service) as address, _running(address) as (running, client):
        job = service.add(status=job_pb2.STATUS_GENERATING)
        async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
            stream = events(answer)
            await next_job(stream)
            waiting = asyncio.create_task(client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "wait=60"}))
            await asyncio.wait_for(service.until(lambda now: now.watching == 2), timeout=PATIENCE)
            running.process.send_signal(signal.SIGTERM)
            comments = [event.comment async for event in stream]
        assert comments[-1] == "the gateway restarts; reconnect"
        assert (await waiting).json()["status"] == "generating"
        assert (await running.end())[0] == 0
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")


def _ports(running: _Gateway) -> set[int]:
    """Where the process listens."""
    found = psutil.Process(running.process.pid).net_connections("tcp")
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}


async def test_metrics_have_a_port_of_their_own_and_none_unless_it_is_set() -> None:
    port = free_port()
    async with serving(FakeJobService()) as address:
        async with _running(address) as (running, client):
            assert _ports(running) == {client.base_url.port}
            assert (await client.get("/metrics")).status_code == 404
        async with _running(address, ADMIN_LISTEN=f"127.0.0.1:{port}") as (running, client):
            assert _ports(running) == {client.base_url.port, port}


async def test_its_drain_can_be_watched_on_the_admin_port() -> None:
    port, held = free_port(), "calotype_request_body_bytes"
    async with (
        serving(FakeJobService()) as address,
        _running(address, ADMIN_LISTEN=f"127.0.0.1:{port}") as (running, client),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as admin,
        asyncio.timeout(PATIENCE),
    ):
        main = (client.base_url.host, client.base_url.port or 0)
        reader, writer = await asyncio.open_connection(*main)
        writer.write(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 15\r\n\r\n{")
        while (await scrape(admin)).value(held) != 1:
            await pause()
        running.process.send_signal(signal.SIGTERM)
        while await _is_open(*main):
            await pause()
        assert (await scrape(admin)).value(held) == 1
        writer.write(b'"prompt": "a"}')
        assert b" 202 " in await reader.readline()
        writer.close()
        assert await running.process.wait() == 0
        assert not await _is_open("127.0.0.1", port)


async def _is_open(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


def _write_keys(folder: Path, name: str, *keys: str, text: str | None = None) -> None:
    """Swap the link `keys.yaml` to a new file, as Kubernetes does."""
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    (folder / name).write_text(text or f"tenants: [{{name: default, key_sha256: {digests}}}]")
    link = folder / "next"
    link.symlink_to(name)
    link.replace(folder / "keys.yaml")


async def _status(client: httpx.AsyncClient, key: str, *, until: int) -> None:
    """Wait until a key is answered so."""
    async with asyncio.timeout(PATIENCE):
        while (await client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})).status_code != until:
            await pause()


async def test_keys_come_and_go_without_a_restart_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    _write_keys(tmp_path, "1", "first")
    file = str(tmp_path / "keys.yaml")
    async with serving(FakeJobService()) as address, _running(address, API_KEYS_FILE=file) as (running, client):
        await _status(client, "first", until=200)
        _write_keys(tmp_path, "2", "first", "second")
        await _status(client, "second", until=200)
        _write_keys(tmp_path, "3", "second")
        await _status(client, "first", until=401)
        await _ready(client, 200)
        _write_keys(tmp_path, "4", text="tenants: {")
        assert b"CALOTYPE_API_KEYS_FILE" in await running.line(b"keys.refused")
        await _status(client, "second", until=200)
        await _ready(client, 200)
        _write_keys(tmp_path, "5", "third")
        await _status(client, "third", until=200)


def test_keys_are_read_again_within_ten_seconds() -> None:
    # A loop's pause is up to a fifth longer than its interval.
    assert 1.2 * RELOAD_SECONDS < 10


async def test_a_client_token_is_in_no_line_that_the_process_writes(tmp_path: Path) -> None:
    _write_keys(tmp_path, "1", "first")
    service = FakeJobService()
    settings = {"API_KEYS_FILE": str(tmp_path / "keys.yaml"), "LOG_LEVEL": "debug", "REQUIRE_AUTH": "true"}
    async with serving(service) as address, _running(address, **settings) as (running, client):
        job = service.add(status=job_pb2.STATUS_COMPLETED)
        key = {"Authorization": "Bearer first"}
        made = await _answer(client, "POST", "/v1/client-tokens", json={"job_id": job.id}, headers=key)
        token = made.json()["token"]
        for used, status in ((token, 200), (token[:-1], 401), (token + chr(0xFC), 401)):
            answer = await _answer(client, "GET", f"/v1/jobs/{job.id}/events", params={"access_token": used})
            assert answer.status_code == status
        # What h11 cannot read at all is answered below the application.
        host, port = client.base_url.host, client.base_url.port
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /v1/jobs/x/events?access_token={token} with spaces HTTP/1.1\r\n\r\n".encode())
        assert b" 400 " in await reader.readline()
        writer.close()
        running.process.send_signal(signal.SIGTERM)
        _, said = await running.end()
    assert said.count(b"/events") >= 3
    assert token.rpartition(".")[2][:20].encode() not in said
    assert token[:60].encode() not in said
