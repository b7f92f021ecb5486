"""Object storage as the real one behaves: conditions hold, identities matter, answers get lost."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from common import bounded_http
from common.object_store import (
    OPERATION_SECONDS,
    ObjectConflict,
    ObjectDiffers,
    ObjectMissing,
    ObjectStore,
    StorageDenied,
    StorageUnavailable,
    checksum,
)
from common.telemetry import metrics, registry
from tests.support.proxies.storage_proxy import Fault, StorageProxy
from tests.support.servers.embedded_servers import STORAGE_TOKENS
from tests.support.servers.tcp_servers import tcp_server
from tests.support.timing.clocks import put_into

PICTURE = b"\x89PNG a picture"
NAME = "jobs/job_1/0-abc.png"
STAGED = "job_1/call_1/0"
Open = Callable[[str, str], ObjectStore]


@pytest.fixture
async def open_store(proxy: StorageProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens a bucket as an identity."""
    async with AsyncExitStack() as stack:

        def opened(identity: str, bucket: str) -> ObjectStore:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls[identity])
            store = ObjectStore(bucket, threads=4)
            stack.push_async_callback(store.close)
            return store

        yield opened


@pytest.fixture
async def staging(proxy: StorageProxy, open_store: Open) -> ObjectStore:
    """Staging, with one picture in it."""
    store = open_store("generator", proxy.staging)
    await store.put(STAGED, PICTURE, content_type="image/png", metadata={"prompt": "secret"})
    return store


@pytest.fixture
def public(proxy: StorageProxy, open_store: Open) -> ObjectStore:
    """The public bucket."""
    return open_store("uploader", proxy.public)


async def copy(public: ObjectStore, proxy: StorageProxy, *, source: str = STAGED, size: int = len(PICTURE)) -> bool:
    """Copy the staged picture to its public name."""
    return await public.copy_from(
        proxy.staging,
        source,
        NAME,
        content_type="image/png",
        cache_control="public, max-age=60, immutable",
        metadata={"sha256": "abc"},
        expected_size=size,
    )


async def get(address: str, *, token: str | None = None) -> httpx.Response:
    """Ask as a browser does, or with a token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(address, headers=headers)


async def test_an_object_is_created_once(proxy: StorageProxy, staging: ObjectStore) -> None:
    again = await staging.put(STAGED, PICTURE, content_type="image/png", metadata={})

    assert again is False
    assert await staging.get(STAGED) == PICTURE
    assert proxy.count("upload") == 2


async def test_another_object_of_the_same_name_is_a_conflict_and_changes_nothing(staging: ObjectStore) -> None:
    with pytest.raises(ObjectConflict):
        await staging.put(STAGED, b"other", content_type="image/png", metadata={})

    assert await staging.get(STAGED) == PICTURE


async def test_an_upload_whose_answer_was_lost_may_be_repeated(proxy: StorageProxy, staging: ObjectStore) -> None:
    proxy.order(Fault.LOSE_RESPONSE, on="upload")
    with pytest.raises(StorageUnavailable):
        await staging.put("new", PICTURE, content_type="image/png", metadata={})

    assert await staging.put("new", PICTURE, content_type="image/png", metadata={}) is False
    assert await staging.get("new") == PICTURE


async def test_what_is_known_of_an_object_is_what_was_written(staging: ObjectStore) -> None:
    found = await staging.stat(STAGED)

    assert found is not None
    assert (found.name, found.size, found.crc32c) == (STAGED, len(PICTURE), checksum(PICTURE))
    assert (found.content_type, found.metadata) == ("image/png", {"prompt": "secret"})
    assert await staging.find("job_1/") == [found]


async def test_what_is_not_there_is_missing(staging: ObjectStore) -> None:
    assert await staging.stat("nothing") is None
    assert await staging.find("nothing") == []
    assert await staging.delete("nothing") is False
    with pytest.raises(ObjectMissing):
        await staging.get("nothing")


async def test_a_copy_is_served_to_anybody_and_shows_nothing_of_its_origin(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    assert await copy(public, proxy) is True

    answer = await get(f"{proxy.open_url}/{proxy.public}/{NAME}")
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Cache-Control"] == "public, max-age=60, immutable"
    assert [name for name in answer.headers if name.startswith("x-goog-meta-")] == ["x-goog-meta-sha256"]


async def test_a_copy_takes_two_requests_as_the_store_describes_what_it_copied(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    before = len(proxy.requests)
    await copy(public, proxy)

    assert [request.kind for request in proxy.requests[before:]] == ["read", "rewrite"]


async def test_a_copy_that_is_there_already_is_fine(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    assert await copy(public, proxy) is True
    assert await copy(public, proxy) is False


async def test_a_copy_whose_answer_was_lost_may_be_repeated(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    proxy.order(Fault.LOSE_RESPONSE, on="rewrite")
    with pytest.raises(StorageUnavailable):
        await copy(public, proxy)

    assert await copy(public, proxy) is False


async def test_two_who_copy_at_once_make_one_object_and_both_succeed(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    # Both have seen that there is none before either writes.
    proxy.order(Fault.HOLD, on="rewrite", times=2)
    first, second = asyncio.create_task(copy(public, proxy)), asyncio.create_task(copy(public, proxy))
    await asyncio.to_thread(proxy.wait_for, "rewrite", times=2)
    proxy.release()

    assert sorted(await asyncio.gather(first, second)) == [False, True]


async def test_another_object_under_the_public_name_is_a_conflict_and_stays(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    await public.put(NAME, b"other", content_type="image/png", metadata={})

    with pytest.raises(ObjectConflict):
        await copy(public, proxy)
    assert await public.get(NAME) == b"other"


async def test_another_object_that_comes_first_by_a_moment_is_a_conflict_and_stays(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    proxy.order(Fault.HOLD, on="rewrite")
    copying = asyncio.create_task(copy(public, proxy))
    await asyncio.to_thread(proxy.wait_for, "rewrite")
    await public.put(NAME, b"other", content_type="image/png", metadata={})
    proxy.release()

    with pytest.raises(ObjectConflict):
        await copying
    assert await public.get(NAME) == b"other"


async def test_a_source_that_is_not_what_was_meant_is_not_copied(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore
) -> None:
    with pytest.raises(ObjectDiffers):
        await copy(public, proxy, size=len(PICTURE) + 1)
    with pytest.raises(ObjectMissing):
        await copy(public, proxy, source="job_1/call_1/7")

    assert await public.stat(NAME) is None


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.HANG_UP])
async def test_a_store_that_is_away_is_unavailable_until_it_is_back(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore, fault: Fault
) -> None:
    proxy.go_away(fault)
    for ask in (copy(public, proxy), public.stat(NAME), public.empty("jobs/job_1/"), staging.get(STAGED)):
        with pytest.raises(StorageUnavailable):
            await ask
    proxy.come_back()

    assert await copy(public, proxy) is True


async def test_nobody_asks_more_than_once_by_himself(proxy: StorageProxy, staging: ObjectStore) -> None:
    proxy.go_away()
    with pytest.raises(StorageUnavailable):
        await staging.get(STAGED)

    assert proxy.count("read") == 1


async def test_only_the_uploader_writes_to_the_public_bucket(proxy: StorageProxy, open_store: Open) -> None:
    for identity in ("generator", "open"):
        store = open_store(identity, proxy.public)
        with pytest.raises(StorageDenied):
            await store.put(NAME, PICTURE, content_type="image/png", metadata={})
        with pytest.raises(StorageDenied):
            await store.delete(NAME)


async def test_only_the_generator_writes_to_staging(
    proxy: StorageProxy, staging: ObjectStore, open_store: Open
) -> None:
    for identity in ("uploader", "open"):
        store = open_store(identity, proxy.staging)
        with pytest.raises(StorageDenied):
            await store.put("new", PICTURE, content_type="image/png", metadata={})
        with pytest.raises(StorageDenied):
            await store.delete(STAGED)


async def test_nobody_but_the_services_reads_staging(
    proxy: StorageProxy, staging: ObjectStore, open_store: Open
) -> None:
    with pytest.raises(StorageDenied):
        await open_store("open", proxy.staging).get(STAGED)
    address = f"{proxy.open_url}/{proxy.staging}/{STAGED}"

    assert (await get(address)).status_code == 401
    assert (await get(address, token=STORAGE_TOKENS["uploader"])).content == PICTURE


async def test_a_folder_is_emptied_and_its_neighbours_stay(staging: ObjectStore) -> None:
    for name in ("job_1/call_2/0", "job_10/call_1/0"):
        await staging.put(name, PICTURE, content_type="image/png", metadata={})

    assert await staging.empty("job_1/") == 2
    assert await staging.empty("job_1/") == 0
    assert [one.name for one in await staging.find("")] == ["job_10/call_1/0"]


async def test_names_are_read_a_page_at_a_time_in_the_order_of_their_bytes(staging: ObjectStore) -> None:
    for name in ("job_2/é", "job_2/z", "job_3/0"):
        await staging.put(name, PICTURE, content_type="image/png", metadata={})
    pages, after = [], ""
    while page := await staging.names(after=after, limit=2):
        pages.append(page)
        after = page[-1]

    assert pages == [[STAGED, "job_2/z"], ["job_2/é", "job_3/0"]]


async def test_a_page_of_names_begins_after_a_name_that_is_gone(staging: ObjectStore) -> None:
    await staging.delete(STAGED)
    await staging.put("job_2/0", PICTURE, content_type="image/png", metadata={})

    assert await staging.names(after=STAGED, limit=2) == ["job_2/0"]


async def test_an_operation_whose_time_is_over_asks_for_nothing_more(
    proxy: StorageProxy, staging: ObjectStore, public: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = put_into(monkeypatch, bounded_http)
    proxy.order(Fault.HOLD, on="read")
    copying = asyncio.create_task(copy(public, proxy))
    await asyncio.to_thread(proxy.wait_for, "read")
    clock.pass_by(OPERATION_SECONDS)
    proxy.release()
    with pytest.raises(StorageUnavailable):
        await copying

    assert (proxy.count("read"), proxy.count("rewrite")) == (1, 0)


async def test_an_operation_whose_time_is_over_before_its_turn_asks_for_nothing(
    proxy: StorageProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["generator"])
    clock, store = put_into(monkeypatch, bounded_http), ObjectStore(proxy.staging, threads=1)
    proxy.order(Fault.HOLD, on="upload")
    asked = [
        asyncio.create_task(store.put(name, PICTURE, content_type="image/png", metadata={})) for name in ("1", "2")
    ]
    await asyncio.to_thread(proxy.wait_for, "upload")
    assert operations(proxy.staging) == {"running": 1, "waiting": 1, "limit": 1}
    clock.pass_by(OPERATION_SECONDS)
    proxy.release()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    await store.close()

    assert ends[0] is True
    assert isinstance(ends[1], StorageUnavailable)
    assert proxy.count("upload") == 1
    assert operations(proxy.staging) == {"running": 0, "waiting": 0, "limit": 1}


def operations(bucket: str) -> dict[str, float]:
    """The gauge of a bucket's operations, by state."""
    found = [family for family in metrics.PROCESS.collect() if family.name == registry.STORAGE_OPERATIONS.name]
    return {
        sample.labels["state"]: sample.value
        for family in found
        for sample in family.samples
        if sample.labels["bucket"] == bucket
    }


def read_on(connection: socket.socket) -> None:
    """Read to the end."""
    while connection.recv(65536):
        pass


async def test_what_the_store_has_not_taken_in_time_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # With little room at its side, and so not all of the picture is taken by the operating system.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{listening.getsockname()[1]}")
        store = ObjectStore("staging", threads=2, operation_seconds=0.3)
        # Larger ones begin with a request without content, whose response is waited for.
        picture = bytes(7 * 1024 * 1024)
        with pytest.raises(StorageUnavailable):
            await store.put("1", picture, content_type="image/png", metadata={})
        await store.close()
        # A store that goes on to read finds that its client is gone: it never has the whole of the request.
        with pytest.raises(ConnectionResetError), listening.accept()[0] as taken:
            read_on(taken)


def object_as_told(**more: Any) -> dict[str, Any]:
    """What the store says of the picture."""
    told = {"kind": "storage#object", "name": STAGED, "bucket": "staging", "contentType": "image/png"}
    return told | {"size": str(len(PICTURE)), "crc32c": checksum(PICTURE), "generation": "1"} | more


def told_by_store(body: bytes, *, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    """An answer, byte for byte."""
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(body))
    return head + body


Ask = Callable[[ObjectStore], Awaitable[object]]
ANSWERED: dict[str, tuple[bytes, Ask]] = {
    "stat": (told_by_store(json.dumps(object_as_told()).encode()), lambda store: store.stat(STAGED)),
    "no object": (told_by_store(b"{}", status=b"404 Not Found"), lambda store: store.stat(STAGED)),
    "get": (told_by_store(PICTURE, kind=b"image/png"), lambda store: store.get(STAGED)),
    "find": (told_by_store(json.dumps({"items": [object_as_told()]}).encode()), lambda store: store.find("job_1/")),
    "nothing found": (told_by_store(b'{"kind": "storage#objects"}'), lambda store: store.find("job_1/")),
    "put": (
        told_by_store(json.dumps(object_as_told()).encode()),
        lambda store: store.put(STAGED, PICTURE, content_type="image/png", metadata={}),
    ),
    "copy": (
        told_by_store(json.dumps(object_as_told()).encode()),
        lambda store: store.copy_from(
            "staging",
            STAGED,
            NAME,
            content_type="image/png",
            cache_control="private",
            metadata={"sha256": "abc"},
            expected_size=len(PICTURE),
        ),
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
async def test_an_answer_that_breaks_off_anywhere_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, ask = ANSWERED[name]
    cut = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(whole[:cut])

    wrong = {}
    async with tcp_server(answer) as port:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        store = ObjectStore("staging", threads=1)
        for cut in range(len(whole)):
            try:
                wrong[whole[:cut]] = await ask(store)
            except StorageUnavailable:
                continue
        await store.close()

    assert wrong == {}
