"""The gateway as a process: its start, its refusals to start, its readiness, its end."""

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import tenant_service_pb2, tenant_service_pb2_grpc

from cli.stack.ports import free_port
from common.grpc_server import GrpcService, serve
from common.health import Readiness
from gateway.auth.keys_file import RELOAD_SECONDS
from gateway.job_service import job_client, notifier_client, operator_client
from tests.support.gateway.event_source import events, next_job
from tests.support.gateway.metrics_scrape import scrape
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.notifier.fake_webhook_service import FakeWebhookService, serving_webhooks
from tests.support.patience import PATIENCE, pause
from tests.support.processes.gateway_process import KEY, NOWHERE, GatewayProcess, running, start, write_keys
from tests.support.servers.tcp_servers import connection

#: What the gateway asks for that is answered once.
UNARY = {"CreateJob", "GetJob", "ListJobs", "ListAttempts", "ListProviders", "RetryJob", "CancelJob", "DeleteJob"}

#: What a gateway is told of other services that are away.
ADDRESSES = {"JOB_ADDRESS": NOWHERE, "NOTIFIER_ADDRESS": NOWHERE}


async def _refusal(**settings: str) -> tuple[int | None, str]:
    process = await start(**settings)
    _, said = await asyncio.wait_for(process.communicate(), timeout=PATIENCE)
    return process.returncode, said.decode()


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
        ({"HTTP_LISTEN": "127.0.0.1:0", "JOB_ADDRESS": NOWHERE}, "CALOTYPE_NOTIFIER_ADDRESS"),
        ({"HTTP_LISTEN": "8080", **ADDRESSES}, "CALOTYPE_HTTP_LISTEN"),
        ({"HTTP_LISTEN": "127.0.0.1:99999", **ADDRESSES}, "CALOTYPE_HTTP_LISTEN"),
        ({"HTTP_LISTEN": "127.0.0.1:0", **ADDRESSES, "HTTP_LISTN": "x"}, "CALOTYPE_HTTP_LISTEN?"),
        ({"HTTP_LISTEN": "127.0.0.1:0", **ADDRESSES, "ADMIN_LISTEN": "9464"}, "CALOTYPE_ADMIN_LISTEN"),
        ({"HTTP_LISTEN": "127.0.0.1:0", **ADDRESSES, "API_KEYS_FILE": ""}, "CALOTYPE_API_KEYS_FILE"),
        ({"HTTP_LISTEN": "127.0.0.1:0", **ADDRESSES, "API_KEYS_FILE": "/nowhere"}, "/nowhere"),
        (
            {"HTTP_LISTEN": "127.0.0.1:0", **ADDRESSES, "GRPC_TLS_KEY_FILE": "/tls.key"},
            "CALOTYPE_GRPC_TLS_CERT_FILE is not",
        ),
        ({"HTTP_LISTEN": "127.0.0.1:0", **ADDRESSES, "GRPC_TOKEN": "a b"}, "CALOTYPE_GRPC_TOKEN"),
    ],
)
async def test_a_bad_setting_stops_the_start_with_one_line(tmp_path: Path, settings: dict[str, str], word: str) -> None:
    write_keys(tmp_path, "1", KEY)
    code, said = await _refusal(**{"API_KEYS_FILE": str(tmp_path / "keys.yaml")} | settings)
    assert (code, said.count("\n"), word in said) == (2, 1, True), said


@pytest.mark.parametrize("name", ["HTTP_LISTEN", "ADMIN_LISTEN"])
async def test_a_busy_port_stops_the_start_with_one_line_that_names_its_setting(tmp_path: Path, name: str) -> None:
    write_keys(tmp_path, "1", KEY)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        listen = f"127.0.0.1:{busy.getsockname()[1]}"
        settings = {"HTTP_LISTEN": "127.0.0.1:0", **ADDRESSES} | {name: listen}
        code, said = await _refusal(API_KEYS_FILE=str(tmp_path / "keys.yaml"), **settings)
    assert (code, said.count("\n")) == (2, 1), said
    assert f"Cannot listen on {listen} (CALOTYPE_{name})" in said


async def test_it_is_ready_while_job_service_is_and_says_so_quickly_when_it_is_not(tmp_path: Path) -> None:
    service = FakeJobService()
    async with serving(service) as address, running(address, tmp_path) as (_, client):
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await _ready(client, 200)).json()["status"] == "ok"
        job = service.add()
        assert (await _answer(client, "GET", f"/v1/jobs/{job.id}")).status_code == 200


async def test_it_calls_the_notifier_where_its_setting_says_and_is_ready_without_it(tmp_path: Path) -> None:
    webhooks = FakeWebhookService()
    webhook = webhooks.add(tenant="default")
    async with serving(FakeJobService()) as address, serving_webhooks(webhooks) as notifier:
        async with running(address, tmp_path, NOTIFIER_ADDRESS=notifier) as (_, client):
            listed = await _answer(client, "GET", "/v1/webhooks")
        async with running(address, tmp_path) as (_, client):
            await _ready(client, 200)
            away = await client.get("/v1/webhooks")

    assert [one["id"] for one in listed.json()["webhooks"]] == [webhook.id]
    assert (away.status_code, "Retry-After" in away.headers) == (503, True)


def test_no_call_to_job_service_may_take_as_long_as_two_seconds() -> None:
    assert max(job_client.CALL_SECONDS, job_client.HEALTH_SECONDS, operator_client.CALL_SECONDS) < 2


def test_no_call_to_the_notifier_may_either_but_a_test_which_waits_for_a_receiver() -> None:
    assert notifier_client.CALL_SECONDS < 2 < 20 < notifier_client.TEST_SECONDS


async def test_every_call_tells_job_service_how_long_it_waits(tmp_path: Path) -> None:
    service = FakeJobService()
    async with serving(service) as address, running(address, tmp_path) as (_, client):
        job = service.add(status=job_pb2.STATUS_FAILED)
        await _answer(client, "POST", "/v1/jobs", json={"prompt": "a"})
        for path in ("/v1/jobs", f"/v1/jobs/{job.id}", f"/v1/jobs/{job.id}/attempts", "/v1/providers"):
            await _answer(client, "GET", path)
        for action in ("retry", "cancel"):
            await _answer(client, "POST", f"/v1/jobs/{job.id}/{action}")
        await _answer(client, "DELETE", f"/v1/jobs/{job.id}")
    assert {type(one).__name__.removesuffix("Request") for one in service.requests} >= UNARY
    # What is left when a call arrives is at most what it was given.
    assert max(service.remaining_seconds) < 2


async def test_a_job_service_that_is_away_is_told_before_it_is_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    async with running(address, tmp_path) as (_, client):
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


async def test_a_job_service_that_is_not_ready_makes_the_gateway_not_ready(tmp_path: Path) -> None:
    async with serving(FakeJobService(), ok=False) as address, running(address, tmp_path) as (_, client):
        async with asyncio.timeout(PATIENCE):
            while (await client.get("/readyz")).json()["conditions"][0]["message"] != "responds, but is not ready":
                await pause()


async def test_told_to_stop_it_ends_streams_finishes_requests_and_exits_with_zero(tmp_path: Path) -> None:
    service = FakeJobService()
    async with serving(service) as address, running(address, tmp_path) as (gateway, client):
        job = service.add(status=job_pb2.STATUS_GENERATING)
        async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
            stream = events(answer)
            await next_job(stream)
            waiting = asyncio.create_task(client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "wait=60"}))
            await asyncio.wait_for(service.until(lambda now: now.watching == 2), timeout=PATIENCE)
            gateway.process.send_signal(signal.SIGTERM)
            comments = [event.comment async for event in stream]
        assert comments[-1] == "the gateway is restarting; reconnect"
        assert (await waiting).json()["status"] == "generating"
        assert (await gateway.end())[0] == 0
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")


def _ports(gateway: GatewayProcess) -> set[int]:
    """Where the process listens."""
    found = psutil.Process(gateway.process.pid).net_connections("tcp")
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}


async def test_metrics_have_a_port_of_their_own_and_none_unless_it_is_set(tmp_path: Path) -> None:
    port = free_port()
    async with serving(FakeJobService()) as address:
        async with running(address, tmp_path) as (gateway, client):
            assert _ports(gateway) == {client.base_url.port}
            assert (await client.get("/metrics")).status_code == 404
        async with running(address, tmp_path, ADMIN_LISTEN=f"127.0.0.1:{port}") as (gateway, client):
            assert _ports(gateway) == {client.base_url.port, port}


async def test_its_drain_can_be_watched_on_the_admin_port(tmp_path: Path) -> None:
    port, held = free_port(), "calotype_request_body_bytes"
    async with (
        serving(FakeJobService()) as address,
        running(address, tmp_path, ADMIN_LISTEN=f"127.0.0.1:{port}") as (gateway, client),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as admin,
        asyncio.timeout(PATIENCE),
    ):
        main = (client.base_url.host, client.base_url.port or 0)
        async with connection(*main) as (reader, writer):
            writer.write(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
            writer.write(f"Authorization: Bearer {KEY}\r\n".encode())
            writer.write(b"Content-Length: 15\r\n\r\n{")
            while (await scrape(admin)).value(held) != 1:
                await pause()
            gateway.process.send_signal(signal.SIGTERM)
            while await _is_open(*main):
                await pause()
            assert (await scrape(admin)).value(held) == 1
            writer.write(b'"prompt": "a"}')
            assert b" 202 " in await reader.readline()
        assert await gateway.process.wait() == 0
        assert not await _is_open("127.0.0.1", port)


async def _is_open(host: str, port: int) -> bool:
    try:
        async with connection(host, port):
            return True
    except ConnectionRefusedError:
        return False


async def _status(client: httpx.AsyncClient, key: str, *, until: int) -> None:
    """Wait until a key is answered so."""
    async with asyncio.timeout(PATIENCE):
        while (await client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})).status_code != until:
            await pause()


async def test_keys_come_and_go_without_a_restart_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    write_keys(tmp_path, "1", "first")
    async with serving(FakeJobService()) as address, running(address, tmp_path, None) as (gateway, client):
        await _status(client, "first", until=200)
        write_keys(tmp_path, "2", "first", "second")
        await _status(client, "second", until=200)
        write_keys(tmp_path, "3", "second")
        await _status(client, "first", until=401)
        await _ready(client, 200)
        write_keys(tmp_path, "4", text="tenants: {")
        assert b"CALOTYPE_API_KEYS_FILE" in await gateway.line(b"keys.refused")
        await _status(client, "second", until=200)
        await _ready(client, 200)
        write_keys(tmp_path, "5", "third")
        await _status(client, "third", until=200)


class TenantService(tenant_service_pb2_grpc.TenantServiceServicer):
    """Collects the limits that the gateway sends to job-service."""

    def __init__(self) -> None:
        self.budgets: asyncio.Queue[int | None] = asyncio.Queue()

    async def SetTenantLimits(self, request: Any, context: Any) -> Any:
        """Stores the daily budget of the only tenant."""
        [limits] = request.tenants
        self.budgets.put_nowait(limits.budget_micros_per_day if limits.HasField("budget_micros_per_day") else None)
        return tenant_service_pb2.SetTenantLimitsResponse()


async def test_limits_are_sent_at_the_start_and_whenever_the_keys_file_changes(tmp_path: Path) -> None:
    tenants = TenantService()
    served = GrpcService(
        name="calotype.ops.v1.TenantService",
        add=tenant_service_pb2_grpc.add_TenantServiceServicer_to_server,
        servicer=tenants,
    )
    write_keys(tmp_path, "1", text="tenants: [{name: a, key_sha256: [], budget_micros_per_day: 5}]")
    async with (
        asyncio.timeout(PATIENCE),
        serve("127.0.0.1:0", [FakeJobService().grpc_service(), served], ready=Readiness(), grace_seconds=0) as port,
        running(f"127.0.0.1:{port}", tmp_path, None),
    ):
        assert await tenants.budgets.get() == 5
        write_keys(tmp_path, "2", text="tenants: [{name: a, key_sha256: []}]")
        assert await tenants.budgets.get() is None


def test_keys_are_read_again_within_ten_seconds() -> None:
    # A loop's pause is up to a fifth longer than its interval.
    assert 1.2 * RELOAD_SECONDS < 10


async def test_a_client_token_is_in_no_line_that_the_process_writes(tmp_path: Path) -> None:
    write_keys(tmp_path, "1", "first")
    service = FakeJobService()
    async with serving(service) as address, running(address, tmp_path, None, LOG_LEVEL="debug") as (gateway, client):
        job = service.add(status=job_pb2.STATUS_COMPLETED)
        key = {"Authorization": "Bearer first"}
        made = await _answer(client, "POST", "/v1/client-tokens", json={"job_id": job.id}, headers=key)
        token = made.json()["token"]
        for used, status in ((token, 200), (token[:-1], 401), (token + chr(0xFC), 401)):
            answer = await _answer(client, "GET", f"/v1/jobs/{job.id}/events", params={"access_token": used})
            assert answer.status_code == status
        # What h11 cannot read at all is answered below the application.
        async with connection(client.base_url.host, client.base_url.port or 0) as (reader, writer):
            writer.write(f"GET /v1/jobs/x/events?access_token={token} with spaces HTTP/1.1\r\n\r\n".encode())
            assert b" 400 " in await reader.readline()
        gateway.process.send_signal(signal.SIGTERM)
        _, said = await gateway.end()
    assert said.count(b"/events") >= 3
    assert token.rpartition(".")[2][:20].encode() not in said
    assert token[:60].encode() not in said
