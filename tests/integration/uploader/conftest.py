"""uploader-service as a process, between a real broker, a store that keeps rules, and the real WorkerService."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from calotype import streams
from calotype.fact.v1 import fact_pb2
from nats.aio.msg import Msg

from cli.stack.child import Child
from cli.stack.ports import free_port
from common.declarations import ConsumerSpec
from common.jetstream import JetStream
from common.object_store import ObjectStore
from common.pulling import Subscription
from services.job.domain.facts import ImagesGenerated
from tests.support.brokers.facts import broker_at
from tests.support.job_service.use_cases import fence_of, image_of, succeeded
from tests.support.job_service.watched_worker_service import WatchedWorkerService, worker_service
from tests.support.patience import PATIENCE
from tests.support.processes.uploader_process import uploader
from tests.support.proxies.storage_proxy import StorageProxy, storage_proxy
from tests.support.servers.embedded_servers import Server, nats_settings

FACTS = ConsumerSpec(stream=streams.FACTS["name"], durable="test-facts", subject="calotype.fact.*.*")


@dataclass(kw_only=True)
class World:
    """All that an uploader talks to, and the uploaders that were started."""

    desk: WatchedWorkerService
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

    async def add(self, *pictures: bytes, too_long: int = 0) -> str:
        """A job whose pictures a generator has staged; the ledger takes the last for so much longer than it is."""
        jobs = self.desk.jobs
        jobs.create(n=len(pictures))
        [claimed] = jobs.claim()
        job, call = claimed.job, jobs.begin(claimed.job)
        images = []
        for index, data in enumerate(pictures):
            image = replace(image_of(job, call, index), sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            metadata = {"revised_prompt": '"private"'}
            await self.staging.put(image.staged_name, data, content_type=image.content_type, metadata=metadata)
            images.append(image)
        images[-1] = replace(images[-1], size_bytes=images[-1].size_bytes + too_long)
        jobs.apply(ImagesGenerated(fence=fence_of(job), calls=(succeeded(call),), images=tuple(images)))
        return job.id

    def start(self, *, identity: str = "uploader", **settings: str) -> Child:
        """One more uploader."""
        self.listens = f"127.0.0.1:{free_port()}"
        told = {
            "WORKER_ADDRESS": self.desk.address,
            **nats_settings(self.nats, "uploader"),
            "BUCKET": self.proxy.public,
            "STAGING_BUCKET": self.proxy.staging,
            "GRPC_LISTEN": self.listens,
            "LEASE_SECONDS": "3000",
            "GRACE_SECONDS": f"{PATIENCE:.0f}",
            "LOG_FORMAT": "text",
        }
        storage_url = self.proxy.urls[identity]
        child = uploader(self.folder, told | settings, storage_url=storage_url, number=len(self.children))
        child.start()
        self.children.append(child)
        return child

    async def next_fact(self) -> fact_pb2.Fact:
        """The next fact in the stream, which job-service does not get; its message is the last of `messages`."""
        async with asyncio.timeout(PATIENCE):
            while not (found := await self._facts.fetch(1, wait_seconds=1.0)):
                pass
        self.messages += found
        await found[0].ack_sync()
        return fact_pb2.Fact.FromString(found[0].data)

    async def unread_facts(self) -> int:
        """Facts that nobody has read."""
        return int((await self.broker.context.stream_info(FACTS.stream)).state.messages)

    async def get(self, name: str) -> httpx.Response:
        """Ask for a public object as a browser does."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self.proxy.open_url}/{self.proxy.public}/{name}")


@pytest.fixture
def proxy(storage: Server) -> Iterator[StorageProxy]:
    """The store behind one door per identity, with buckets of the test's own."""
    with storage_proxy(storage.url) as running:
        yield running


@pytest.fixture
async def world(
    database_url: str, nats: Server, proxy: StorageProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """Everything but the uploader."""
    async with AsyncExitStack() as stack:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["generator"])
        staging = ObjectStore(proxy.staging, threads=2)
        stack.push_async_callback(staging.close)
        broker = await stack.enter_async_context(broker_at(nats.url))
        desk = await stack.enter_async_context(worker_service(database_url, broker))
        world = World(desk=desk, proxy=proxy, nats=nats, broker=broker, staging=staging, folder=tmp_path)
        try:
            yield world
        finally:
            proxy.release()
            for child in world.children:
                child.kill()
