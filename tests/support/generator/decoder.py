"""The processes that decode, for all tests of a run: they start when one is needed."""

import asyncio
from functools import cache

from services.generator.adapters.images.decoding.processes import DecodingProcesses
from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.ports import Inspected, PreparedInput


@cache
def decoder() -> DecodingProcesses:
    """As the generator has them."""
    return DecodingProcesses(processes=2)


def close() -> None:
    """End them."""
    asyncio.run(decoder().close())
    decoder.cache_clear()


async def inspect(data: bytes) -> Inspected:
    """What the generator sees of an image."""
    fetch = GuardedFetch()
    try:
        return await GuardedImageReader(fetch, decoder()).inspect(data)
    finally:
        await fetch.close()


async def prepared(data: bytes) -> PreparedInput:
    """An input image as the generator sends it."""
    fetch = GuardedFetch()
    try:
        return await GuardedImageReader(fetch, decoder()).prepare_input(data)
    finally:
        await fetch.close()
