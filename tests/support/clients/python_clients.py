"""Both Python clients behind one asynchronous interface; the one for threads runs beside the loop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from calotype.client import AsyncJobClient, JobClient
from calotype.client.sync_admin import AdminMethods

KINDS = ("asyncio", "threads")


class Threaded:
    """The client for threads, or its calls of operators, with asynchronous methods."""

    def __init__(self, jobs: JobClient | AdminMethods) -> None:
        self._jobs: Any = jobs

    @property
    def admin(self) -> "Threaded":
        """Calls of operators."""
        return Threaded(self._jobs.admin)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._jobs, name)

        async def call(*values: Any, **named: Any) -> Any:
            return await asyncio.to_thread(method, *values, **named)

        return call

    async def jobs(self, *values: Any) -> AsyncIterator[Any]:
        """All jobs."""
        async for job in _beside(self._jobs.jobs(*values)):
            yield job

    async def webhooks(self) -> AsyncIterator[Any]:
        """All webhooks."""
        async for webhook in _beside(self._jobs.webhooks()):
            yield webhook

    async def deliveries(self, *values: Any, **named: Any) -> AsyncIterator[Any]:
        """All deliveries."""
        async for delivery in _beside(self._jobs.deliveries(*values, **named)):
            yield delivery

    async def watch(self, *values: Any, **named: Any) -> AsyncIterator[Any]:
        """Every change of a job."""
        async for update in _beside(self._jobs.watch(*values, **named)):
            yield update


async def _beside(items: Iterator[Any]) -> AsyncIterator[Any]:
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item


@asynccontextmanager
async def client(kind: str, address: str, **how: Any) -> AsyncIterator[Any]:
    """A client of one of `KINDS`, as the tenant `acme`."""
    if kind == "asyncio":
        async with AsyncJobClient(address, tenant="acme", **how) as jobs:
            yield jobs
    else:
        with JobClient(address, tenant="acme", **how) as jobs:
            yield Threaded(jobs)
