"""A generator between a scripted vendor and a staging bucket that keeps rules, in this process or as one of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from common.leased_work import Slot
from common.memory import Memory
from common.object_store import ObjectStore
from services.generator.adapters.gcs_staging import GcsStaging
from services.generator.adapters.images.guarded_fetch import Bounds, GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.adapters.providers.procedural.process_pool import Renderers
from services.generator.application.run_job import Generator
from services.generator.domain.jobs import Job, Route
from services.generator.ports import ImageProvider, ProviderRequest
from tests.support.generator.decoder import decoder
from tests.support.generator.fakes import Facts, LedgerJobService, job_of
from tests.support.patience import PATIENCE
from tests.support.processes import generator_environment
from tests.support.providers.paid_provider import Books, paid_provider, png
from tests.support.providers.provider_fixtures import ReplicateFixture
from tests.support.providers.scripted_http import ScriptedResponse, ScriptedServer, scripted_server
from tests.support.proxies.storage_proxy import StorageProxy, storage_proxy
from tests.support.servers.embedded_servers import Server

PICTURE = png()
#: Judged by its bytes, whatever the vendor's server calls it.
GOOD = ScriptedResponse(body=PICTURE, headers={"Content-Type": "text/html"})


@dataclass(kw_only=True)
class World:
    """All that a generator talks to. Whatever is asked of the vendor beyond its script fails the test."""

    vendor: ScriptedServer
    paid: ReplicateFixture
    proxy: StorageProxy
    store: ObjectStore
    reader: GuardedImageReader
    desk: LedgerJobService = field(default_factory=LedgerJobService)
    facts: Facts = field(default_factory=Facts)
    memory: Memory = field(default_factory=lambda: Memory(64 * 1024 * 1024))

    def __post_init__(self) -> None:
        self.desk.register(self.paid.provider)

    def job(self, **changes: Any) -> Job:
        """A claimed job for the vendor's model."""
        fields: dict[str, Any] = {"routes": (Route(provider="paid", model=self.paid.model),), "max_seconds": PATIENCE}
        return job_of(**(fields | changes))

    def order(self, *, count: int = 1, **request: Any) -> ProviderRequest:
        """The call that such a job makes."""
        return self.paid.order(count=count, **request)

    def will_sell_one(self) -> None:
        """The vendor takes one order and has a picture at once."""
        self.paid.expect_submit(self.order())
        self.paid.expect_result("0.png")

    def shows(self, name: str, answer: ScriptedResponse, *, times: int = 1) -> None:
        """A picture of the vendor's, at any time, so often."""
        for _ in range(times):
            self.vendor.expect("GET", f"/files/{name}", answer, in_turn=False)

    async def run(self, job: Job, *, provider: ImageProvider | None = None, slot: Slot[Job] | None = None) -> Slot[Job]:
        """One claim to its end."""
        slot = slot or Slot(token=job.lease_token, work=job)
        generator = Generator(
            job_service=self.desk,
            facts=self.facts,
            staging=GcsStaging(self.store),
            reader=self.reader,
            providers={"paid": provider or self.paid.provider},
            memory=self.memory,
        )
        await generator.run(slot)
        return slot

    async def staged(self) -> list[str]:
        """Names in staging."""
        return sorted(one.name for one in await self.store.find(""))


@pytest.fixture
def proxy(storage: Server) -> Iterator[StorageProxy]:
    """The store behind one door per identity, with buckets of the test's own."""
    with storage_proxy(storage.url) as running:
        yield running


@pytest.fixture
async def vendor() -> AsyncIterator[ScriptedServer]:
    """Answers as told, and is content with nothing else than what it was told to expect."""
    async with scripted_server() as running:
        yield running


@pytest.fixture
async def world(proxy: StorageProxy, vendor: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Everything, nothing done yet."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["generator"])
    async with AsyncExitStack() as stack:
        store = ObjectStore(proxy.staging, threads=4)
        stack.push_async_callback(store.close)
        fetch = GuardedFetch(bounds=Bounds(appears_within_seconds=1.0))
        stack.push_async_callback(fetch.close)
        renderers = Renderers(1)
        stack.push_async_callback(renderers.close)
        paid = ReplicateFixture(vendor, renderers)
        stack.push_async_callback(paid.provider.close)
        stack.callback(proxy.release)
        yield World(vendor=vendor, paid=paid, proxy=proxy, store=store, reader=GuardedImageReader(fetch, decoder()))


@pytest.fixture
def books() -> Iterator[Books]:
    """The paid provider's books."""
    with paid_provider() as found:
        yield found
        found.release_hanging()


@pytest.fixture
async def process(
    database_url: str,
    nats: Server,
    proxy: StorageProxy,
    books: Books,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[generator_environment.World]:
    """Everything but the generator."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["generator"])
    async with generator_environment.opened(
        database_url, nats=nats, proxy=proxy, books=books, folder=tmp_path
    ) as world:
        yield world
