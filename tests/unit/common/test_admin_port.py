"""The admin port shows metrics and health alone, and its connections are few and short."""

import asyncio
import socket

import httpx
import pytest

from cli.stack.ports import free_port
from common import admin_port, http_server
from common.admin_health import HealthProbes
from common.admin_port import AdminConnection, AdminSettings
from common.config import ConfigError
from common.health import Readiness
from common.lifecycle import StartError
from tests.support.patience import PATIENCE


async def test_it_serves_metrics_and_nothing_else_until_the_block_ends() -> None:
    port = free_port()
    async with (
        admin_port.serving("uploader", AdminSettings(admin_listen=f"127.0.0.1:{port}")),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client,
    ):
        answer = await client.get("/metrics")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert "# TYPE calotype_event_loop_delay_seconds histogram" in answer.text
        assert [(await client.get(path)).status_code for path in ("/", "/healthz", "/metrics/")] == [404] * 3
        assert (await client.post("/metrics")).status_code == 404
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_probes_see_that_it_lives_and_what_it_is_not_ready_for() -> None:
    port, health, ready = free_port(), HealthProbes(), Readiness("broker", "schema")
    async with (
        admin_port.serving("uploader", AdminSettings(admin_listen=f"127.0.0.1:{port}"), health=health),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client,
    ):

        async def probed() -> tuple[int, str]:
            assert (await client.get("/healthz")).status_code == 200
            answer = await client.get("/readyz")
            return answer.status_code, answer.text

        before = await probed()
        with health.follow(ready):
            ready.set("schema", True)
            ready.set("broker", False, "nats-0.example:4222 refused the password")
            without_broker = await probed()
            ready.set("broker", True)
            able = await probed()
        after = await probed()
        assert (await client.post("/healthz")).status_code == 404
        assert (await client.get("/metrics")).status_code == 200

    # The port has no authentication, so it does not say why.
    assert without_broker == (503, "not ready: broker\n")
    assert before == after == (503, "not ready: starting or stopping\n")
    assert able == (200, "ok\n")


async def test_without_an_address_there_is_no_port() -> None:
    async with admin_port.serving("uploader", AdminSettings()):
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "admin port"]


async def test_an_address_that_cannot_be_used_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="CALOTYPE_ADMIN_LISTEN"):
        async with admin_port.serving("uploader", AdminSettings(admin_listen="9464")):
            pass
    with socket.create_server(("127.0.0.1", 0)) as busy:
        settings = AdminSettings(admin_listen=f"127.0.0.1:{busy.getsockname()[1]}")
        with pytest.raises(StartError, match="CALOTYPE_ADMIN_LISTEN"):
            async with admin_port.serving("uploader", settings):
                pass


class Few(AdminConnection):
    """Few connections, for a long time."""

    max_connections = 2
    max_seconds = PATIENCE


async def test_a_probe_gets_an_answer_while_silent_clients_have_every_connection() -> None:
    opened, stop = http_server.bind("127.0.0.1:0", setting="X"), asyncio.Event()
    address = opened.getsockname()[:2]
    app = admin_port.MetricsApp(health=HealthProbes())
    server = http_server.serve(app, opened, stop=stop, protocol=Few, drain_seconds=1, keep_alive_seconds=5)
    serving = asyncio.create_task(server)
    async with asyncio.timeout(PATIENCE):
        silent = [await asyncio.open_connection(*address) for _ in range(2)]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        [ended] = await asyncio.gather(silent[0][0].read(), return_exceptions=True)
        assert not ended or isinstance(ended, ConnectionError)
        for _, opened_writer in [*silent, (reader, writer)]:
            opened_writer.close()
        stop.set()
        await serving
    opened.close()


class Impatient(AdminConnection):
    """Few and very short connections."""

    max_connections = 2
    max_seconds = 0.3


async def test_a_silent_client_is_sent_away_and_so_is_one_too_many() -> None:
    opened, stop = http_server.bind("127.0.0.1:0", setting="X"), asyncio.Event()
    address = opened.getsockname()[:2]
    app = admin_port.MetricsApp()
    server = http_server.serve(app, opened, stop=stop, protocol=Impatient, drain_seconds=1, keep_alive_seconds=5)
    serving = asyncio.create_task(server)
    async with asyncio.timeout(PATIENCE):
        silent = [await asyncio.open_connection(*address) for _ in range(3)]
        silent[0][1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        ends = await asyncio.gather(*(reader.read() for reader, _ in silent), return_exceptions=True)
        assert all(not end or isinstance(end, ConnectionError) for end in ends)
        for _, writer in silent:
            writer.close()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        stop.set()
        await serving
    opened.close()
