"""Every provider as a subject of the suites."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest

from services.generator.adapters.providers.procedural.process_pool import Renderers
from tests.support.providers import goldens
from tests.support.providers.goldens import GoldenFixture
from tests.support.providers.provider_fixtures import (
    REMOTE,
    DiffusersFixture,
    ProceduralFixture,
    ProviderFixture,
    RemoteProviderFixture,
    ReplicateFixture,
)
from tests.support.providers.scripted_http import ScriptedServer, scripted_server


@pytest.fixture
async def vendor() -> AsyncIterator[ScriptedServer]:
    """Answers as told, and is content with nothing else than what it was told to expect."""
    async with scripted_server() as running:
        yield running


@pytest.fixture(scope="session")
def renderers() -> Iterator[Renderers]:
    """A process that draws."""
    pool = Renderers(1)
    yield pool
    asyncio.run(pool.close())


@pytest.fixture(params=["procedural", "diffusers", *REMOTE])
async def subject(
    request: pytest.FixtureRequest, vendor: ScriptedServer, renderers: Renderers
) -> AsyncIterator[ProviderFixture]:
    """Each provider; those behind HTTP by their goldens."""
    local = {"procedural": partial(ProceduralFixture, renderers), "diffusers": DiffusersFixture}
    found = local[request.param]() if request.param in local else GoldenFixture(goldens.read(request.param), vendor)
    yield found
    await found.provider.close()


@pytest.fixture(params=["replicate"])
def opened(request: pytest.FixtureRequest, renderers: Renderers) -> Callable[[ScriptedServer], RemoteProviderFixture]:
    """Opens each provider with operations behind HTTP, with any server for its vendor."""
    return partial({"replicate": ReplicateFixture}[request.param], renderers=renderers)


@pytest.fixture
async def remote(
    opened: Callable[[ScriptedServer], RemoteProviderFixture], vendor: ScriptedServer
) -> AsyncIterator[RemoteProviderFixture]:
    """Each provider with operations behind HTTP."""
    found = opened(vendor)
    yield found
    await found.provider.close()
