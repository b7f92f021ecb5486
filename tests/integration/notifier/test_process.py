"""notifier-service as a process, between a real database, a real broker, the real job-service and a receiver."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psycopg2
import pytest
from calotype.notifier.v1 import webhook_service_pb2 as pb
from calotype.notifier.v1 import webhook_service_pb2_grpc
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc
from psycopg2 import sql
from standardwebhooks import Webhook

from cli.stack.child import Child
from cli.stack.ports import free_port
from common.errors import ServiceError
from common.grpc_client import ClientSettings, call, channel
from services.job.application import user_actions
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.notifier.processes import Received, Receiver, notifier, receiver
from tests.support.pages.examples import ROOT, running, written
from tests.support.patience import PATIENCE, pause
from tests.support.security.identities import OPERATOR, entry, security_for, write
from tests.support.servers import embedded_servers as servers
from tests.support.servers.embedded_servers import nats_settings

API = "https://images.example"
OPERATIONS = ROOT / "docs" / "operations.md"


@dataclass(kw_only=True)
class World:
    """All that a notifier talks to, and the notifiers that were started."""

    folder: Path
    desk: JobUseCases
    receiver: Receiver
    settings: dict[str, str]
    children: list[Child] = field(default_factory=list)

    def start(self, **settings: str) -> Child:
        """One more notifier."""
        listen = self.settings["GRPC_LISTEN"] = f"127.0.0.1:{free_port()}"
        told = self.settings | {"GRPC_LISTEN": listen} | settings
        child = notifier(self.folder, told, number=len(self.children) + 1)
        child.start()
        self.children.append(child)
        return child

    async def ask(self, method: str, **fields: Any) -> Any:
        """Call WebhookService of the notifier that was started last, as the gateway, once it responds."""
        request = getattr(pb, f"{method}Request")(**({"tenant": "acme"} | fields))
        settings = ClientSettings(grpc_token="gateway")
        async with channel(self.settings["GRPC_LISTEN"], settings=settings) as opened, asyncio.timeout(PATIENCE):
            stub = webhook_service_pb2_grpc.WebhookServiceStub(opened)
            while True:
                try:
                    return await call(getattr(stub, method), request, timeout=PATIENCE)
                except ServiceError as error:
                    if error.status is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await pause()


@pytest.fixture
def jobs_url(postgres: servers.Server, template: str) -> Iterator[str]:
    """job-service's database."""
    url = servers.copy_database(postgres.url, template)
    yield url
    servers.drop_database(postgres.url, url)


@pytest.fixture
async def world(database_url: str, jobs_url: str, nats: servers.Server, tmp_path: Path) -> AsyncIterator[World]:
    """Everything but the notifier."""
    identities = write(
        tmp_path / "identities.yaml",
        entry("gateway", "client", "operator", tenants="*"),
        entry("notifier", "notifier", tenants="*"),
        entry(OPERATOR, "operator"),
    )
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(job_service(jobs_url, nats.url, security_for(identities)))
        settings = {
            "DATABASE_URL": database_url,
            "JOB_ADDRESS": address,
            "API_BASE_URL": API,
            "GRPC_IDENTITIES_FILE": str(identities),
            "GRPC_TOKEN": "notifier",
            "WEBHOOK_ALLOW_PRIVATE": "true",
            "LOG_FORMAT": "text",
            **nats_settings(nats, "notifier"),
        }
        desk = stack.enter_context(use_cases_at(jobs_url))
        world = World(
            folder=tmp_path, desk=desk, receiver=await stack.enter_async_context(receiver()), settings=settings
        )
        try:
            yield world
        finally:
            for child in world.children:
                child.kill()


def verified(received: Received, secret: str) -> Any:
    """The event of a request. Raises for a signature that is not that of the secret."""
    return Webhook(secret).verify(received.body, dict(received.headers))


async def test_the_end_of_a_job_reaches_its_tenants_webhook_signed(world: World) -> None:
    world.start()
    created = await world.ask("CreateWebhook", url=world.receiver.url)
    ended = world.desk.cancel(world.desk.create(prompt="a lighthouse").job.id).job
    received = await world.receiver.next()
    event = verified(received, created.secret)
    delivery_id = received.headers["webhook-id"]
    async with asyncio.timeout(PATIENCE):
        while (found := await world.ask("GetDelivery", delivery_id=delivery_id)).delivery.state != (
            pb.DELIVERY_STATE_DELIVERED
        ):
            await pause()

    assert received.line == "POST /hooks HTTP/1.1"
    assert (event["type"], event["data"]["id"]) == ("job.canceled", ended.id)
    assert event["data"]["request"]["prompt"] == "a lighthouse"
    assert event["data"]["links"]["self"] == f"{API}/v1/jobs/{ended.id}"
    assert [attempt.status for attempt in found.attempts] == [204]


async def test_the_end_of_a_job_reaches_its_callback_url_although_the_job_was_deleted(world: World) -> None:
    ended = world.desk.cancel(world.desk.create(prompt="a secret", callback_url=world.receiver.url).job.id).job
    world.desk.delete(ended.id)
    world.start()
    secret = (await world.ask("GetSigningSecret")).secret
    received = await world.receiver.next()
    event = verified(received, secret)

    assert (event["type"], event["data"]["id"], event["data"]["request"]) == ("job.canceled", ended.id, None)
    assert b"a secret" not in received.body


async def test_two_notifiers_deliver_an_event_once(world: World) -> None:
    world.start()
    await world.ask("CreateWebhook", url=world.receiver.url)
    world.start()
    await world.ask("ListWebhooks")
    ended = [world.desk.cancel(world.desk.create().job.id).job.id for _ in range(20)]
    received = [json.loads((await world.receiver.next()).body)["data"]["id"] for _ in ended]

    assert sorted(received) == sorted(ended)


async def test_a_notifier_that_was_killed_is_followed_by_one_that_goes_on(world: World) -> None:
    world.start().kill()
    world.start()
    await world.ask("CreateWebhook", url=world.receiver.url)
    world.children[-1].kill()
    ended = world.desk.cancel(world.desk.create().job.id).job
    world.start()

    assert json.loads((await world.receiver.next()).body)["data"]["id"] == ended.id


async def test_without_its_broker_it_reads_the_feed_by_itself(world: World, nats: servers.Server) -> None:
    world.start()
    await world.ask("CreateWebhook", url=world.receiver.url)
    await asyncio.to_thread(nats.child.kill)
    ended = world.desk.cancel(world.desk.create().job.id).job

    assert json.loads((await world.receiver.next()).body)["data"]["id"] == ended.id


async def test_operators_see_its_state_and_can_drain_it(world: World) -> None:
    child = world.start()
    await world.ask("ListWebhooks")
    async with channel(world.settings["GRPC_LISTEN"], settings=ClientSettings(grpc_token=OPERATOR)) as opened:
        operations = operations_service_pb2_grpc.OperationsServiceStub(opened)
        async with asyncio.timeout(PATIENCE):
            while not (before := await operations.GetStatus(ops.GetStatusRequest(), timeout=PATIENCE)).ready:
                await pause()
        await operations.Drain(ops.DrainRequest(), timeout=PATIENCE)
        after = await operations.GetStatus(ops.GetStatusRequest(), timeout=PATIENCE)
    await asyncio.to_thread(child.stop, PATIENCE)

    assert (before.service, before.draining, before.counters["slots_busy"]) == ("notifier", False, 0)
    assert {condition.name for condition in before.conditions} == {"database", "schema", "broker"}
    assert after.draining
    assert child.exit_status == 0


async def test_an_operator_deletes_all_of_a_tenant_as_the_page_says(
    world: World, database_url: str, tmp_path: Path
) -> None:
    world.start()
    for tenant in ("acme", "other"):
        await world.ask("CreateWebhook", tenant=tenant, url=world.receiver.url, idempotency_key="key")
        await world.ask("CreateWebhook", tenant=tenant, url="http://127.0.0.1:9/never")
        await world.ask("GetSigningSecret", tenant=tenant)
        job_id = world.desk.create(tenant=tenant, callback_url=f"{world.receiver.url}/{tenant}").job.id
        world.desk.run(lambda c, tenant=tenant, job_id=job_id: user_actions.cancel_job(c, tenant, job_id))
    for _ in range(4):
        await world.receiver.next()
    file = written(OPERATIONS, "delete_tenant.py", tmp_path)
    address, ends = world.settings["GRPC_LISTEN"], []
    for token in ("notifier", OPERATOR, OPERATOR):
        environment = {"CALOTYPE_NOTIFIER_ADDRESS": address, "CALOTYPE_GRPC_TOKEN": token}
        async with running(file, environment, "acme") as example:
            ends.append(await example.end())

    assert (ends[0][0], "PERMISSION_DENIED" in ends[0][1]) == (1, True)
    assert ends[1:] == [(0, "2 webhooks deleted\n"), (0, "0 webhooks deleted\n")]
    async with asyncio.timeout(PATIENCE):
        while any(rows_that_name(database_url, "acme").values()):
            await pause()
    assert {name for name, count in rows_that_name(database_url, "other").items() if count} >= {
        "webhook_endpoints", "webhook_secrets", "webhook_deliveries", "webhook_requests"
    }  # fmt: skip


def rows_that_name(database_url: str, tenant: str) -> dict[str, int]:
    """Rows by table in which the tenant's name occurs anywhere."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
        tables = [name for (name,) in cursor.fetchall()]
        counts = {}
        for table in tables:
            query = sql.SQL("SELECT count(*) FROM {table} AS one WHERE to_jsonb(one)::text LIKE %s")
            cursor.execute(query.format(table=sql.Identifier(table)), (f"%{tenant}%",))
            counts[table] = cursor.fetchone()[0]
        return counts


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"API_BASE_URL": "images"}, "CALOTYPE_API_BASE_URL"),
        ({"WEBHOOK_PORTS": "http"}, "CALOTYPE_WEBHOOK_PORTS"),
        ({"WEBHOOK_PROXY_URL": "ftp://user:hidden@proxy"}, "CALOTYPE_WEBHOOK_PROXY_URL"),
        ({"WEBHOOK_CA_FILE": __file__}, "CALOTYPE_WEBHOOK_CA_FILE"),
        ({"WEBHOOK_CA_FILE": "/none.pem"}, "CALOTYPE_WEBHOOK_CA_FILE"),
        ({"GRPC_IDENTITIES_FILE": ""}, "CALOTYPE_GRPC_IDENTITIES_FILE"),
        ({"NOTIFIER_SLOTS": "3"}, "CALOTYPE_NOTIFIER_SLOTS"),
    ],
)
async def test_a_bad_setting_stops_the_start_with_one_line(world: World, settings: dict[str, str], word: str) -> None:
    child = world.start(**settings)
    async with asyncio.timeout(PATIENCE):
        while child.is_alive:
            await pause()
    said = (world.folder / "notifier-1.log").read_text(encoding="utf-8")

    assert (child.exit_status, said.count("\n"), word in said, "hidden" in said) == (2, 1, True, False), said
