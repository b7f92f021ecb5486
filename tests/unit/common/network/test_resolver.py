"""Lookups run on threads of their own, one per host."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from common.network import resolver
from tests.support.patience import PATIENCE

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 80))]


class HeldLookups:
    """Stands in for the C library: a lookup of a host that begins with `held` waits for `release`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.begun = threading.Semaphore(0)
        self._released = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        """As `socket.getaddrinfo`."""
        self.asked.append(host)
        if host.startswith("held"):
            self.begun.release()
            assert self._released.wait(PATIENCE)
        return FOUND

    def release(self) -> None:
        """Lets all lookups end."""
        self._released.set()

    async def wait_for(self, count: int) -> None:
        """Waits until so many held lookups have begun."""
        for _ in range(count):
            assert await asyncio.to_thread(self.begun.acquire, timeout=PATIENCE)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldLookups]:
    held = HeldLookups()
    monkeypatch.setattr(resolver.socket, "getaddrinfo", held.getaddrinfo)  # type: ignore[attr-defined]
    yield held
    held.release()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433"])
async def test_every_notation_of_an_address_is_resolved(host: str) -> None:
    assert set(await resolver.resolve(host, 80)) == {"127.0.0.1"}


@pytest.mark.parametrize("host", ["a\x00b", "x" * 300 + ".invalid", "a..b", "[::1]", "1.2.3.4.5"])
async def test_what_is_no_host_is_an_error(host: str) -> None:
    with pytest.raises((OSError, ValueError)):
        await resolver.resolve(host, 80)


async def test_names_whose_server_hangs_delay_no_other_name(lookups: HeldLookups) -> None:
    hanging = [asyncio.create_task(resolver.resolve(f"held{number}.test", 80)) for number in range(40)]
    await lookups.wait_for(40)

    assert await resolver.resolve("other.test", 80) == ["1.1.1.1"]

    lookups.release()
    assert await asyncio.gather(*hanging) == [["1.1.1.1"]] * 40


async def test_one_lookup_per_host_is_under_way_even_if_its_callers_gave_up(lookups: HeldLookups) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await resolver.resolve("held.test", 80)
    last = asyncio.create_task(resolver.resolve("held.test", 80))
    # Until it has joined the lookup.
    await asyncio.sleep(0)
    await lookups.wait_for(1)
    lookups.release()

    assert await last == ["1.1.1.1"]
    assert lookups.asked == ["held.test"]
    assert await resolver.resolve("held.test", 80) == ["1.1.1.1"]
    assert lookups.asked == ["held.test"] * 2


async def test_too_many_lookups_are_refused(lookups: HeldLookups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 1)
    first = asyncio.create_task(resolver.resolve("held.test", 80))
    await lookups.wait_for(1)

    with pytest.raises(socket.gaierror):
        await resolver.resolve("other.test", 80)

    lookups.release()
    await first


def test_a_lookup_outlives_its_event_loop(lookups: HeldLookups) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await resolver.resolve("held.test", 80)
        await lookups.wait_for(1)

    asyncio.run(give_up())
    lookups.release()
    for thread in threading.enumerate():
        if thread.name == "resolver":
            thread.join(PATIENCE)

    assert asyncio.run(resolver.resolve("held.test", 80)) == ["1.1.1.1"]  # type: ignore[arg-type]
