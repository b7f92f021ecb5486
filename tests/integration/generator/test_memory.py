"""However many large answers and images come at once, they are in memory within its bound, and none is lost."""

import asyncio
import base64
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from common.leased_work import Slot
from common.memory import UNCOUNTED, Memory
from common.object_store import ObjectStore
from services.generator.adapters.gcs_staging import GcsStaging
from services.generator.adapters.images import guarded_fetch
from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.adapters.providers.entry_fields import ModelEntry
from services.generator.adapters.providers.http import responses
from services.generator.adapters.providers.openai.entry import OpenAIEntry
from services.generator.adapters.providers.openai.provider import OpenAIProvider
from services.generator.application.run_job import Generator
from services.generator.ports import ImageProvider
from tests.support.generator.decoder import decoder
from tests.support.generator.fakes import Facts, LedgerJobService, Provider, at, job_of
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import png
from tests.support.servers.embedded_servers import new_buckets
from tests.support.servers.tcp_servers import tcp_server

JOBS = 16
MEBIBYTE = 1024 * 1024
#: Of an image; as base64 it has 4 MiB.
SIZE = 3 * MEBIBYTE
#: Two of sixteen fit.
BOUNDS = {"base64": 2 * responses.COPIES * 4 * MEBIBYTE, "address": 2 * guarded_fetch.COPIES * SIZE}
#: What is not counted of each body, and the rest: connections, and what libraries need.
OVERHEAD = JOBS * UNCOUNTED + 8 * MEBIBYTE
_PIECE = 48 * 1024


class Vendor:
    """Sells large images, which are made while they are sent: they are in its client's memory alone."""

    def __init__(self, *, tells_length: bool) -> None:
        self._tells_length = tells_length
        self._all_have_asked = asyncio.Event()
        self._asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; it is answered when all have come."""
        head = await reader.readuntil(b"\r\n\r\n")
        self._asked += 1
        if self._asked == JOBS:
            self._all_have_asked.set()
        await self._all_have_asked.wait()
        image = [png().ljust(_PIECE, b"\0"), *[bytes(_PIECE)] * (SIZE // _PIECE - 1)]
        body = _as_answer(image) if head.startswith(b"POST") else image
        length = f"Content-Length: {sum(map(len, body))}\r\n" if self._tells_length else ""
        writer.write(f"HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n".encode())
        for piece in body:
            writer.write(piece)
            await writer.drain()
        writer.close()


def _as_answer(image: list[bytes]) -> list[bytes]:
    """An image as OpenAI's API tells it, with words that are no ASCII."""
    start, zeros = base64.b64encode(image[0]), base64.b64encode(image[1])
    before = '{"data": [{"revised_prompt": "a “harbour”", "b64_json": "'.encode()
    return [before, start, *[zeros] * (len(image) - 1), b'"}]}']


class World:
    """Generators in one process, which share its memory."""

    def __init__(self, store: ObjectStore, reader: GuardedImageReader) -> None:
        self.memory = Memory(0)
        self.store = store
        self._reader = reader

    async def run(self, provider: ImageProvider, job_id: str) -> list[str]:
        """One claim to its end; what was told."""
        facts = Facts()
        generator = Generator(
            job_service=LedgerJobService(provider),
            facts=facts,
            staging=GcsStaging(self.store),
            reader=self._reader,
            providers={"paid": provider},
            memory=self.memory,
        )
        job = job_of(id=job_id)
        await generator.run(Slot(token=job.lease_token, work=job))
        return facts.kinds


@pytest.fixture
async def world(storage_url: str) -> AsyncIterator[World]:
    """A bucket and the way to the vendor."""
    _, bucket = new_buckets()
    async with AsyncExitStack() as stack:
        store = ObjectStore(bucket, threads=JOBS)
        stack.push_async_callback(store.close)
        fetch = GuardedFetch()
        stack.push_async_callback(fetch.close)
        yield World(store, GuardedImageReader(fetch, decoder()))


@pytest.mark.parametrize(("kind", "tells_length"), [("base64", True), ("base64", False), ("address", False)])
async def test_large_images_that_come_at_once_are_all_kept_and_take_no_more_memory_than_there_is(
    world: World, kind: str, *, tells_length: bool
) -> None:
    world.memory = Memory(BOUNDS[kind])
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(tcp_server(Vendor(tells_length=tells_length).serve))
        url = f"http://127.0.0.1:{port}"
        provider = _provider(kind, url)
        stack.push_async_callback(provider.close)
        tracemalloc.start(1)
        stack.callback(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        async with asyncio.timeout(PATIENCE):
            told = await asyncio.gather(*(world.run(provider, f"job_{number}") for number in range(JOBS)))
        _, peak = tracemalloc.get_traced_memory()

    assert told == [["images_generated"]] * JOBS
    assert {one.size for one in await world.store.find("")} == {SIZE}
    assert world.memory.held == 0
    assert peak - before < BOUNDS[kind] + OVERHEAD


def _provider(kind: str, url: str) -> ImageProvider:
    if kind == "base64":
        entry = OpenAIEntry(name="paid", kind="openai", base_url=url, models=(ModelEntry(name="m"),))
        return OpenAIProvider(entry, api_key="sk-of-the-operator")
    provider = Provider(at(f"{url}/image.png"))
    provider.allow_private_addresses = True
    return provider
