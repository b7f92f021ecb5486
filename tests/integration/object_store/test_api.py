"""The embedded object store as Google's client meets it: conditions, pages, large objects, parts of objects."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

from common.object_store import ObjectConflict, ObjectStore, StorageDenied, checksum
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import STORAGE_TOKENS, Server, new_buckets

#: Larger than what Google's client sends in one request.
LARGE = os.urandom(9 * 1024 * 1024)


class World:
    """Two buckets, as their owners see them, and the API."""

    def __init__(self, url: str, staging: ObjectStore, public: ObjectStore, names: tuple[str, str]) -> None:
        self.staging, self.public = staging, public
        self.public_bucket, self.staging_bucket = names
        self.http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE)

    async def copy(self, source: str, name: str, *, size: int) -> bool:
        """Copy from staging."""
        return await self.public.copy_from(
            self.staging_bucket,
            source,
            name,
            content_type="image/webp",
            cache_control="public, max-age=60",
            metadata={"sha256": "abc"},
            expected_size=size,
        )

    async def call(self, method: str, path: str, *, who: str = "uploader", **more: object) -> httpx.Response:
        """A call of the API."""
        headers = {"Authorization": f"Bearer {STORAGE_TOKENS[who]}"} | dict(more.pop("headers", {}))  # type: ignore[call-overload]
        return await self.http.request(method, path, headers=headers, **more)  # type: ignore[arg-type]


@pytest.fixture
async def world(storage: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Buckets of the test's own."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
    public, staging = new_buckets()
    async with AsyncExitStack() as stack:
        stores = []
        for who, bucket in (("generator", staging), ("uploader", public)):
            monkeypatch.setenv("STORAGE_EMULATOR_TOKEN", STORAGE_TOKENS[who])
            stores.append(ObjectStore(bucket, threads=8))
            stack.push_async_callback(stores[-1].close)
        world = World(storage.url, *stores, (public, staging))
        stack.push_async_callback(world.http.aclose)
        yield world


async def test_of_many_who_write_one_name_at_once_exactly_one_wins(world: World) -> None:
    contents = [f"picture {number}".encode() for number in range(16)]
    puts = (world.staging.put("one", data, content_type="image/png", metadata={}) for data in contents)
    ends = await asyncio.gather(*puts, return_exceptions=True)

    assert [end for end in ends if not isinstance(end, ObjectConflict)] == [True]
    assert await world.staging.get("one") == contents[ends.index(True)]


async def test_of_many_who_copy_to_one_name_at_once_exactly_one_wins(world: World) -> None:
    for number in range(8):
        data = f"picture {number}".encode()
        await world.staging.put(f"job/{number}", data, content_type="image/png", metadata={})
    copies = (world.copy(f"job/{number}", "jobs/one", size=9) for number in range(8))
    ends = await asyncio.gather(*copies, return_exceptions=True)

    assert sorted(type(end).__name__ for end in ends) == sorted(["bool", *["ObjectConflict"] * 7])
    assert await world.public.get("jobs/one") == f"picture {ends.index(True)}".encode()


async def test_a_large_object_goes_there_copied_and_back_unchanged(world: World) -> None:
    assert await world.staging.put("large", LARGE, content_type="image/png", metadata={"seed": '"ü"'}) is True
    assert await world.staging.put("large", LARGE, content_type="image/png", metadata={}) is False
    with pytest.raises(ObjectConflict):
        await world.staging.put("large", LARGE[1:], content_type="image/png", metadata={})
    assert await world.copy("large", "jobs/large", size=len(LARGE)) is True

    found = await world.staging.stat("large")
    assert found is not None
    assert (found.size, found.crc32c, found.metadata) == (len(LARGE), checksum(LARGE), {"seed": '"ü"'})
    assert await world.public.get("jobs/large") == LARGE


async def test_a_copy_stays_when_its_source_goes(world: World) -> None:
    await world.staging.put("job/1", b"picture", content_type="image/png", metadata={})
    await world.copy("job/1", "jobs/1", size=7)
    await world.staging.delete("job/1")

    assert await world.public.get("jobs/1") == b"picture"
    assert await world.staging.stat("job/1") is None


async def test_only_what_is_of_the_generation_that_was_named_is_written_copied_or_deleted(world: World) -> None:
    bucket = f"/storage/v1/b/{world.public_bucket}/o"
    upload = {"uploadType": "media", "name": "a"}

    async def put(data: bytes, **condition: int) -> httpx.Response:
        path = f"/upload/storage/v1/b/{world.public_bucket}/o"
        return await world.call("POST", path, params=upload | condition, content=data)

    first = (await put(b"1", ifGenerationMatch=0)).json()
    second = (await put(b"2", ifGenerationMatch=int(first["generation"]))).json()
    refused = [
        await put(b"3", ifGenerationMatch=0),
        await put(b"3", ifGenerationMatch=int(first["generation"])),
        await world.call("DELETE", f"{bucket}/a", params={"ifGenerationMatch": first["generation"]}),
        await world.call("POST", f"{bucket}/a/rewriteTo/b/{world.public_bucket}/o/a", params={"ifGenerationMatch": 0}),
        await world.call("POST", f"{bucket}/a/rewriteTo/b/{world.public_bucket}/o/b", params={"ifGenerationMatch": 1}),
    ]
    of_old = await world.call(
        "POST", f"{bucket}/a/rewriteTo/b/{world.public_bucket}/o/b", params={"sourceGeneration": first["generation"]}
    )

    assert int(second["generation"]) > int(first["generation"])
    assert [answer.status_code for answer in refused] == [412] * 5
    assert {answer.json()["error"]["errors"][0]["reason"] for answer in refused} == {"conditionNotMet"}
    assert of_old.status_code == 404
    assert (await world.call("GET", f"{bucket}/a", params={"alt": "media"})).content == b"2"
    assert (await world.call("GET", f"{bucket}/b")).status_code == 404
    deleted = await world.call("DELETE", f"{bucket}/a", params={"ifGenerationMatch": second["generation"]})
    assert (deleted.status_code, (await put(b"4", ifGenerationMatch=0)).status_code) == (204, 200)


async def test_names_are_listed_in_the_order_of_their_bytes_a_page_at_a_time(world: World) -> None:
    names = ["a", "a b", "a!", "a-", "a/b", "a/b/c", "a0", "b", "z", "é", "퟿", "\ue000", "😀"]
    for name in names:
        await world.staging.put(name, b"x", content_type="image/png", metadata={})
    pages, token = [], ""
    while True:
        told = {"maxResults": 5, "pageToken": token} if token else {"maxResults": 5}
        path = f"/storage/v1/b/{world.staging_bucket}/o"
        page = (await world.call("GET", path, who="generator", params=told)).json()
        pages.append([one["name"] for one in page["items"]])
        if not (token := page.get("nextPageToken", "")):
            break
    in_order = sorted(names, key=str.encode)

    assert pages == [in_order[:5], in_order[5:10], in_order[10:]]
    assert [one.name for one in await world.staging.find("a/")] == ["a/b", "a/b/c"]
    assert [one.name for one in await world.staging.find("a")] == [name for name in in_order if name.startswith("a")]
    assert [one.name for one in await world.staging.find("퟿")] == ["퟿"]
    assert await world.staging.names_between("a/", "a0") == ["a/b", "a/b/c"]
    assert await world.staging.names(after="é", limit=1) == ["퟿"]


async def test_bytes_that_are_not_those_that_were_meant_make_no_object(world: World) -> None:
    path = f"/upload/storage/v1/b/{world.public_bucket}/o"
    media = {"uploadType": "media", "name": "a"}
    wrong = checksum(b"other")
    begun = await world.call("POST", path, params={"uploadType": "resumable"}, json={"name": "a", "crc32c": wrong})
    there = begun.headers["Location"]
    answers = [
        await world.call("POST", path, params=media, content=b"1", headers={"X-Goog-Hash": f"crc32c={wrong}"}),
        await world.call("POST", path, params=media, content=b"1", headers={"X-Goog-Hash": "md5=wrong"}),
        await world.call("POST", path, params=media, content=b"1", headers={"Content-Encoding": "gzip"}),
        await world.call("PUT", there, content=b"1"),
        await world.call("PUT", there, content=b"12", headers={"Content-Range": "bytes 0-1/3"}),
        await world.call("PUT", there, content=b"12", headers={"Content-Range": "bytes 0-2/3"}),
        await world.call("PUT", there, content=b"12", headers={"Content-Range": "bytes 2-3/4"}),
    ]

    assert [answer.status_code for answer in answers] == [400] * 7
    assert await world.public.stat("a") is None


async def test_a_parameter_that_the_store_does_not_know_is_refused_rather_than_passed_over(world: World) -> None:
    bucket = f"/storage/v1/b/{world.public_bucket}/o"
    for method, path, name in (
        ("GET", bucket, "delimiter"),
        ("GET", bucket, "versions"),
        ("GET", f"{bucket}/a", "generation"),
        ("DELETE", f"{bucket}/a", "ifMetagenerationMatch"),
        ("POST", f"{bucket}/a/rewriteTo/b/{world.public_bucket}/o/b", "ifSourceGenerationMatch"),
        ("POST", f"/upload{bucket}", "ifGenerationNotMatch"),
    ):
        answer = await world.call(method, path, params={name: "1"})

        assert (name, answer.status_code) == (name, 400)
    for pair in ("maxResults=x", "maxResults=-1", "pageToken=%ff", "pageToken=x", "prefix=%ff", "prefix=a&prefix=b"):
        assert (pair, (await world.call("GET", f"{bucket}?{pair}")).status_code) == (pair, 400)


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ({}, 200, b"0123456789"),
        ({"Range": "bytes=2-4"}, 206, b"234"),
        ({"Range": "bytes=7-"}, 206, b"789"),
        ({"Range": "bytes=-3"}, 206, b"789"),
        ({"Range": "bytes=-30"}, 206, b"0123456789"),
        ({"Range": "bytes=5-500"}, 206, b"56789"),
        ({"Range": "bytes=10-"}, 416, b""),
        ({"Range": "bytes=4-2"}, 416, b""),
        ({"Range": "bytes=-0"}, 416, b""),
        ({"Range": "bytes=0-1,4-5"}, 200, b"0123456789"),
        ({"Range": "bytes=-"}, 200, b"0123456789"),
        ({"Range": "lines=1-2"}, 200, b"0123456789"),
        ({"Range": "bytes=2-4", "If-Range": '"another"'}, 200, b"0123456789"),
        ({"If-None-Match": '"another"'}, 200, b"0123456789"),
        ({"If-None-Match": '"781e5e245d69b566979b86e28d23f2c7"'}, 304, b""),
        ({"If-None-Match": 'W/"781e5e245d69b566979b86e28d23f2c7", "x"'}, 304, b""),
        ({"If-None-Match": "*"}, 304, b""),
    ],
)
async def test_a_browser_gets_the_part_that_it_asks_for_and_nothing_that_it_has(
    world: World, asked: dict[str, str], status: int, body: bytes
) -> None:
    await world.staging.put("job/1", b"0123456789", content_type="image/png", metadata={})
    await world.copy("job/1", "jobs/1", size=10)
    answer = await world.http.get(f"/{world.public_bucket}/jobs/1", headers=asked)

    assert (answer.status_code, answer.content) == (status, body)
    if status in (200, 206):
        assert answer.headers["Content-Length"] == str(len(body))
    if status in (200, 206, 304):
        assert answer.headers["Cache-Control"] == "public, max-age=60"
    if status == 206:
        start = b"0123456789".index(body)
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/10"


async def test_who_is_refused_is_told_so_even_with_much_to_say(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in (STORAGE_TOKENS["uploader"], "guessed"):
        monkeypatch.setenv("STORAGE_EMULATOR_TOKEN", token)
        stranger = ObjectStore(world.staging_bucket, threads=1)
        for data in (b"x", LARGE[: 7 * 1024 * 1024], LARGE):
            with pytest.raises(StorageDenied):
                await stranger.put("mine", data, content_type="image/png", metadata={})
        await stranger.close()


async def test_a_picture_that_is_deleted_while_it_is_read_is_read_to_its_end(world: World) -> None:
    await world.staging.put("large", LARGE, content_type="image/png", metadata={})
    path = f"/{world.staging_bucket}/large"
    headers = {"Authorization": f"Bearer {STORAGE_TOKENS['generator']}"}
    async with world.http.stream("GET", path, headers=headers) as answer:
        pieces = answer.aiter_raw()
        read = [await anext(pieces)]
        await world.staging.delete("large")
        read += [piece async for piece in pieces]

    assert b"".join(read) == LARGE


async def test_a_bucket_that_is_not_there_is_not_found(world: World) -> None:
    answer = await world.call("GET", "/storage/v1/b/elsewhere")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 404)
