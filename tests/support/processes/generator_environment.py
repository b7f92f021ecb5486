"""All servers that a process of generator-service connects to, and the messages that it published."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from calotype import streams
from calotype.fact.v1 import fact_pb2
from nats.aio.msg import Msg

from cli.stack.child import Child
from cli.stack.ports import free_port
from common.declarations import ConsumerSpec
from common.jetstream import JetStream
from common.object_store import ObjectStore
from common.pulling import Subscription
from tests.support.brokers.facts import broker_at
from tests.support.job_service.watched_worker_service import WatchedWorkerService, worker_service
from tests.support.patience import PATIENCE
from tests.support.processes.generator_process import CATALOGUE, PROVIDERS, generator
from tests.support.providers.paid_provider import Books
from tests.support.proxies.storage_proxy import StorageProxy
from tests.support.servers.embedded_servers import Server, nats_settings

FACTS = ConsumerSpec(stream=streams.FACTS["name"], durable="test-facts", subject="calotype.fact.*.*")


@dataclass(kw_only=True)
class World:
    """All that a generator talks to, and the generators that were started."""

    desk: WatchedWorkerService
    books: Books
    proxy: StorageProxy
    nats: Server
    broker: JetStream
    staging: ObjectStore
    folder: Path
    children: list[Child] = field(default_factory=list)
    listens: str = ""

    def __post_init__(self) -> None:
        self._facts = Subscription(self.broker, FACTS)
        self.messages: list[Msg] = []

    def start(self, *, otlp_url: str = "", **settings: str) -> Child:
        """One more generator; it sends its spans to `otlp_url`."""
        self.listens = f"127.0.0.1:{free_port()}"
        providers = self.folder / "providers.yaml"
        providers.write_text(PROVIDERS.format(url=self.books.url), encoding="utf-8")
        defaults = {
            "WORKER_ADDRESS": self.desk.address,
            **nats_settings(self.nats, "generator"),
            "STAGING_BUCKET": self.proxy.staging,
            "PROVIDERS_FILE": str(providers),
            "GRPC_LISTEN": self.listens,
            "GENERATOR_SLOTS": "4",
            "LEASE_SECONDS": "3000",
            "GRACE_SECONDS": f"{PATIENCE:.0f}",
            "LOG_FORMAT": "text",
        }
        url = self.proxy.urls["generator"]
        number = len(self.children)
        child = generator(self.folder, defaults | settings, storage_url=url, number=number, otlp_url=otlp_url)
        child.start()
        self.children.append(child)
        return child

    async def next_fact(self) -> fact_pb2.Fact:
        """The next fact in the stream, which job-service does not get; its message is the last of `messages`."""
        async with asyncio.timeout(PATIENCE):
            while not (messages := await self._facts.fetch(1, wait_seconds=1.0)):
                pass
        self.messages += messages
        await messages[0].ack_sync()
        return fact_pb2.Fact.FromString(messages[0].data)

    async def progress_of(self, job_id: str) -> asyncio.Queue[bytes]:
        """Returns a queue of the messages about a job's progress from now on."""
        received: asyncio.Queue[bytes] = asyncio.Queue()

        async def on_message(subject: str, body: bytes) -> None:
            await received.put(body)

        await self.broker.subscribe_core(streams.progress_subject(tenant="acme", job_id=job_id), on_message)
        return received

    async def unread_facts(self) -> int:
        """Returns the number of unread facts."""
        return int((await self.broker.context.stream_info(FACTS.stream)).state.messages)


@asynccontextmanager
async def opened(
    database_url: str, *, nats: Server, proxy: StorageProxy, books: Books, folder: Path
) -> AsyncIterator[World]:
    """Everything but the generator; clients of this process find the object store by their environment."""
    async with AsyncExitStack() as stack:
        staging = ObjectStore(proxy.staging, threads=2)
        stack.push_async_callback(staging.close)
        broker = await stack.enter_async_context(broker_at(nats.url))
        desk = await stack.enter_async_context(worker_service(database_url, broker))
        desk.jobs.register(*CATALOGUE)
        world = World(desk=desk, books=books, proxy=proxy, nats=nats, broker=broker, staging=staging, folder=folder)
        try:
            yield world
        finally:
            proxy.release()
            for child in world.children:
                child.kill()


async def stop(child: Child) -> int | None:
    """Stops a process, and waits; returns its exit status."""
    await asyncio.to_thread(child.stop, PATIENCE)
    return child.exit_status
