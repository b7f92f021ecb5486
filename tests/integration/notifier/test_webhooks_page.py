"""The receivers of docs/webhooks.md, at the real notifier: they accept what it delivers, and nothing else."""

import asyncio
import base64
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from calotype.client import AsyncJobClient, Unavailable
from calotype.notifier.v1 import webhook_service_pb2 as pb

from cli.stack.ports import free_port
from services.notifier.adapters.signatures import signature_header
from services.notifier.domain.endpoints import SignatureScheme
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.notifier.processes import Received, Receiver, notifier, receiver
from tests.support.pages.examples import Example, running, written
from tests.support.pages.typescript import run
from tests.support.pages.webhooks import PAGE
from tests.support.patience import PATIENCE, pause
from tests.support.required_tools import need
from tests.support.security.identities import entry, security_for, write
from tests.support.servers import embedded_servers as servers
from tests.support.servers.embedded_servers import nats_settings

PACKAGES = Path(__file__).parents[2] / "support" / "pages" / "receivers"


@dataclass(frozen=True, kw_only=True)
class World:
    """A notifier, and what it delivers to."""

    desk: JobUseCases
    #: Client of both services.
    jobs: AsyncJobClient
    #: Keeps what it gets.
    receiver: Receiver


@pytest.fixture
def jobs_url(postgres: servers.Server, template: str) -> Iterator[str]:
    """job-service's database."""
    url = servers.copy_database(postgres.url, template)
    yield url
    servers.drop_database(postgres.url, url)


@pytest.fixture
async def world(database_url: str, jobs_url: str, nats: servers.Server, tmp_path: Path) -> AsyncIterator[World]:
    """A notifier between real servers."""
    identities = write(
        tmp_path / "identities.yaml",
        entry("backend", "client", tenants="*"),
        entry("notifier", "notifier", tenants="*"),
    )
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(job_service(jobs_url, nats.url, security_for(identities)))
        settings = {
            "DATABASE_URL": database_url,
            "JOB_ADDRESS": address,
            "API_BASE_URL": "https://images.example",
            "GRPC_LISTEN": f"127.0.0.1:{free_port()}",
            "GRPC_IDENTITIES_FILE": str(identities),
            "GRPC_TOKEN": "notifier",
            "WEBHOOK_ALLOW_PRIVATE": "true",
            **nats_settings(nats, "notifier"),
        }
        child = notifier(tmp_path, settings)
        stack.callback(child.kill)
        child.start()
        client = AsyncJobClient(address, tenant="acme", token="backend", notifier_address=settings["GRPC_LISTEN"])
        jobs = await stack.enter_async_context(client)
        await responds(jobs)
        yield World(
            desk=stack.enter_context(use_cases_at(jobs_url)),
            jobs=jobs,
            receiver=await stack.enter_async_context(receiver()),
        )


async def responds(jobs: AsyncJobClient) -> None:
    """Waits until the notifier responds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await no_webhooks(jobs)
            except Unavailable:
                await pause()


async def no_webhooks(jobs: AsyncJobClient) -> None:
    """Lists the endpoints, of which there are none."""
    assert [webhook async for webhook in jobs.webhooks()] == []


@dataclass(frozen=True, kw_only=True)
class PageReceiver:
    """A receiver of the page that runs."""

    #: Its process.
    example: Example
    #: Where it listens.
    url: str

    async def status_of(self, headers: Mapping[str, str], body: bytes) -> int:
        """Posts a request once the receiver listens; returns the status of its response."""
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client, asyncio.timeout(PATIENCE):
            while True:
                try:
                    return (await client.post(self.url, headers=dict(headers), content=body)).status_code
                except httpx.ConnectError:
                    await pause()


@dataclass(frozen=True, kw_only=True)
class Program:
    """A receiver of the page, ready to run."""

    #: What runs it.
    interpreter: str
    #: Its code.
    file: Path

    async def start(self, stack: AsyncExitStack, *, secret: str, port: int) -> PageReceiver:
        """Runs it until the stack is left."""
        environment = {"WEBHOOK_SECRET": secret, "PORT": str(port)}
        example = await stack.enter_async_context(running(self.file, environment, program=self.interpreter))
        return PageReceiver(example=example, url=f"http://127.0.0.1:{port}/hook")


@pytest.fixture(params=["python", pytest.param("node", marks=pytest.mark.slow)])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    """The receiver in one of the languages, with its library."""
    if request.param == "python":
        return Program(interpreter=sys.executable, file=written(PAGE, "receiver.py", tmp_path))
    interpreter = need("node", install="apt-get install nodejs npm")
    need("npm", install="apt-get install nodejs npm")
    folder = Path(shutil.copytree(PACKAGES, tmp_path / "node"))
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return Program(interpreter=interpreter, file=written(PAGE, "receiver.mjs", folder))


async def test_a_receiver_accepts_a_delivery_and_prints_its_type(world: World, program: Program) -> None:
    port = free_port()
    created = await world.jobs.create_webhook(f"http://127.0.0.1:{port}/hook")
    async with AsyncExitStack() as stack:
        run_by = await program.start(stack, secret=created.secret, port=port)
        await run_by.status_of({}, b"")
        world.desk.cancel(world.desk.create().job.id)
        # Python's server also prints a line for each request.
        while not (line := await run_by.example.line()).startswith("msg_"):
            assert line
        delivery_id, event_type = line.split()
        async with asyncio.timeout(PATIENCE):
            while (found := await world.jobs.delivery(delivery_id)).delivery.state != pb.DELIVERY_STATE_DELIVERED:
                await pause()

    assert event_type == "job.canceled"
    assert [attempt.status for attempt in found.attempts] == [204]


async def test_a_receiver_refuses_what_was_not_signed_like_this(world: World, program: Program) -> None:
    created, other = (
        await world.jobs.create_webhook(world.receiver.url),
        await world.jobs.create_webhook("http://127.0.0.1:9/never"),
    )
    world.desk.cancel(world.desk.create().job.id)
    received = await world.receiver.next()
    shown = {name: value for name, value in received.headers.items() if name.startswith(("webhook-", "content-type"))}
    async with AsyncExitStack() as stack:
        right = await program.start(stack, secret=created.secret, port=free_port())
        wrong = await program.start(stack, secret=other.secret, port=free_port())
        statuses = {
            "as delivered": await right.status_of(shown, received.body),
            "tampered": await right.status_of(shown, received.body.replace(b"job.canceled", b"job.completed")),
            "another id": await right.status_of({**shown, "webhook-id": "msg_1"}, received.body),
            "no signature": await right.status_of({"content-type": "application/json"}, received.body),
            "odd signature": await right.status_of({**shown, "webhook-signature": "v1"}, received.body),
            "no text": await right.status_of(shown, b"\xff"),
            "old": await right.status_of(resigned(received, created.secret, age=3_600), received.body),
            "signed again": await right.status_of(resigned(received, created.secret, age=0), received.body),
            "another secret": await wrong.status_of(shown, received.body),
        }

    accepted = {name for name, status in statuses.items() if status == 204}
    assert accepted == {"as delivered", "signed again"}
    assert set(statuses.values()) == {204, 400}


def resigned(received: Received, secret: str, *, age: int) -> dict[str, str]:
    """Headers of a delivery that was sent `age` seconds ago, with a signature that is right."""
    key, webhook_id = base64.b64decode(secret.removeprefix("whsec_")), received.headers["webhook-id"]
    sent_at = int(time.time()) - age
    signature = signature_header(webhook_id, sent_at, received.body, keys=[key], scheme=SignatureScheme.V1)
    return {"webhook-id": webhook_id, "webhook-timestamp": str(sent_at), "webhook-signature": signature}
