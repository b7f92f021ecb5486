"""What the embedded object store confirmed is there after it was killed, and nothing is there by halves."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cli.stack import storage
from cli.stack.child import Child, ChildError
from cli.stack.ports import free_port
from common.object_store import ObjectStore, StorageUnavailable, checksum
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import STORAGE_TOKENS
from tests.support.servers.reaper import reaped

BUCKETS = {"public": storage.PUBLIC, "staging": storage.STAGING}


class Kept:
    """A store that is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.data, self.port = folder / "data", free_port()
        self.log = folder / "storage.log"
        program, self.url = storage.program(
            self.data, log=self.log, tokens=STORAGE_TOKENS, buckets=BUCKETS, port=self.port
        )
        self.child = Child(program)

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        await asyncio.to_thread(self.child.start)
        await asyncio.to_thread(self.child.wait_ready, PATIENCE)


@pytest.fixture
async def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    """A store of the test's own."""
    kept = Kept(tmp_path)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", kept.url)
    await kept.start()
    with reaped(kept.child.pid):
        yield kept
        kept.child.kill()


@asynccontextmanager
async def opened(monkeypatch: pytest.MonkeyPatch, bucket: str) -> AsyncIterator[ObjectStore]:
    """A bucket, as its owner."""
    monkeypatch.setenv("STORAGE_EMULATOR_TOKEN", STORAGE_TOKENS["uploader" if bucket == "public" else "generator"])
    store = ObjectStore(bucket, threads=8)
    try:
        yield store
    finally:
        await store.close()


async def test_what_was_confirmed_is_there_after_a_kill_and_nothing_by_halves(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed: dict[str, bytes] = {}
    async with opened(monkeypatch, "staging") as store:
        for turn in range(3):
            enough = asyncio.Event()
            tried: dict[str, bytes] = {}

            async def write(turn: int, number: int, tried: dict[str, bytes], enough: asyncio.Event) -> None:
                for count in range(10_000):
                    name, data = f"job_{turn}/{number}/{count}", os.urandom(200_000)
                    tried[name] = data
                    try:
                        await store.put(name, data, content_type="image/png", metadata={"n": name})
                    except StorageUnavailable:
                        return
                    confirmed[name] = data
                    if count == 3:
                        enough.set()

            writing = [asyncio.create_task(write(turn, number, tried, enough)) for number in range(6)]
            await asyncio.wait_for(enough.wait(), PATIENCE)
            # In the midst of what the others write.
            kept.child.kill()
            await asyncio.gather(*writing)
            await kept.start()
            found = {one.name: one for one in await store.find(f"job_{turn}/")}

            assert found.keys() >= {name for name in confirmed if name.startswith(f"job_{turn}/")}
            assert {name: (one.size, one.crc32c, one.metadata["n"]) for name, one in found.items()} == {
                name: (len(tried[name]), checksum(tried[name]), name) for name in found
            }
            for name in found:
                assert await store.get(name) == tried[name]
    assert list((kept.data / "incoming").iterdir()) == []


async def test_what_was_deleted_stays_deleted_and_leaves_no_bytes(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch, "staging") as staging, opened(monkeypatch, "public") as public:
        for number in range(3):
            await staging.put(f"job/{number}", b"secret %d" % number, content_type="image/png", metadata={})
        await public.copy_from(
            "staging",
            "job/0",
            "jobs/0",
            content_type="image/png",
            cache_control="private",
            metadata={"a": "b"},
            expected_size=8,
        )
        for number in range(3):
            assert await staging.delete(f"job/{number}") is True
        kept.child.kill()
        await kept.start()

        assert await staging.find("") == []
        assert await public.get("jobs/0") == b"secret 0"
    files = [one.read_bytes() for one in (kept.data / "contents").rglob("*") if one.is_file()]
    assert files == [b"secret 0"]


async def test_a_second_store_does_not_start_on_the_same_data(kept: Kept) -> None:
    port = free_port()
    program, _ = storage.program(
        kept.data, log=kept.log.with_name("second.log"), tokens=STORAGE_TOKENS, buckets=BUCKETS, port=port
    )
    second = Child(program)
    await asyncio.to_thread(second.start)
    with reaped(second.pid), pytest.raises(ChildError, match="locked"):
        await asyncio.to_thread(second.wait_ready, PATIENCE)

    assert storage.storage_ok(kept.url)
