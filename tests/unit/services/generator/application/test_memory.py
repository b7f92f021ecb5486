"""Answers and images that wait for memory: none is lost by that, and none waits for what its own call holds."""

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from common.leased_work import Slot
from common.memory import STEP, Memory, read_body
from services.generator.application.run_job import Generator
from services.generator.domain.provider_results import Acceptance, Generated, ImageSource, Operation, StageError
from services.generator.domain.settlements import CallOutcome
from services.generator.ports import ImageProvider, ProviderRequest
from tests.support.generator.fakes import (
    Facts,
    LedgerJobService,
    Provider,
    Reader,
    Staging,
    job_of,
    made,
    provider_error,
)
from tests.support.patience import PATIENCE
from tests.support.timing.virtual_time import in_virtual_time

SIZE = 4 * STEP


async def read_some() -> bytes:
    """A body of that size."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(SIZE // STEP):
            yield bytes(STEP)

    return await read_body(parts(), length=SIZE, limit=SIZE, copies=1)


class ReadingProvider(Provider):
    """Its answers are bodies."""

    async def submit(self, provider_request: ProviderRequest) -> Generated | Operation:
        """The next answer, once its body was read."""
        await read_some()
        return await super().submit(provider_request)


class FetchingReader(Reader):
    """Whatever has an address is fetched, and as large."""

    async def read(self, source: ImageSource, *, provider: ImageProvider) -> bytes:
        """The bytes."""
        return await read_some() if source.url else source.data or b"image"


async def run(memory: Memory, provider: Provider, *, n: int = 1, facts: Facts | None = None) -> Facts:
    """One claim to its end; what was told."""
    facts = facts or Facts()
    generator = Generator(
        job_service=LedgerJobService(provider),
        facts=facts,
        staging=Staging(),
        reader=FetchingReader(),
        providers={"paid": provider},
        memory=memory,
    )
    job = job_of(n=n)
    await generator.run(Slot(token=job.lease_token, work=job))
    return facts


@in_virtual_time
async def test_a_paid_answer_that_waits_for_memory_longer_than_its_provider_has_time_is_not_lost() -> None:
    memory = Memory(SIZE)

    async def occupy() -> None:
        with memory.share(until=time.monotonic() + PATIENCE) as share:
            share.expect(SIZE)
            await share.grow(SIZE)
            await asyncio.sleep(60)

    occupying = asyncio.create_task(occupy())
    await asyncio.sleep(0)
    facts = await run(memory, ReadingProvider(made(), resumable=False, timeout=30))
    await occupying

    assert facts.kinds == ["images_generated"]
    assert memory.held == 0


@in_virtual_time
async def test_images_that_are_fetched_wait_neither_for_their_answer_nor_for_each_other() -> None:
    memory = Memory(SIZE)
    fetched, brought = ImageSource(url="https://pictures.example/1.png"), ImageSource(base64="aW1hZ2U=")
    answer = Generated(images=(fetched, brought, fetched, fetched))
    facts = await run(memory, ReadingProvider(answer, resumable=False), n=4)

    assert (facts.kinds, facts.indexes) == (["images_generated"], [0, 1, 2, 3])
    assert memory.held == 0


class Seller(ReadingProvider):
    """Knows which of the images that it sold are still in memory."""

    def __init__(self, data: bytes) -> None:
        super().__init__(None, resumable=False)
        self.sold: weakref.WeakSet[ImageSource] = weakref.WeakSet()
        self._data = data

    def _next(self) -> Generated:
        answer = made(self._data)
        self.sold.update(answer.images)
        if self._data == b"no answer":
            raise provider_error(Acceptance.UNKNOWN)
        return answer


@pytest.mark.parametrize("data", [b"bad", b"no answer"])
async def test_what_came_of_a_call_that_failed_is_in_memory_no_more_when_the_failure_is_told(data: bytes) -> None:
    memory, provider, held = Memory(SIZE), Seller(data), []

    class Listening(Facts):
        async def stage_failed(self, *_: Any, error: StageError, calls: Sequence[CallOutcome], **about: Any) -> None:
            held.append((memory.held, len(provider.sold)))

    await run(memory, provider, facts=Listening())

    assert held == [(0, 0)]
