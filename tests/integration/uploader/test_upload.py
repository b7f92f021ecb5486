"""One upload into a store that keeps rules: what is there already, what got lost on the way, who may do what."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from calotype import object_names

from common.leased_work import Renewal, Slot
from common.object_store import ObjectStore
from services.uploader.adapters.gcs_store import GcsPublicStore
from services.uploader.application import Uploader
from services.uploader.domain import StagedImage, Upload, UploadError
from tests.support.patience import PATIENCE
from tests.support.proxies.storage_proxy import Fault, StorageProxy
from tests.support.servers.embedded_servers import STORAGE_TOKENS

JOB = "job_01890000000070008000000000000001"
FIRST, SECOND = b"first picture", b"second picture"


class Desk:
    """Takes uploads back; has no other work."""

    def __init__(self) -> None:
        self.released: list[str] = []

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Upload]]:
        """Nothing is due."""
        return []

    async def renew(self, uploads: Sequence[Upload]) -> Mapping[str, Renewal]:
        """Everything is held."""
        return {}

    async def release(self, upload: Upload) -> None:
        """Take it back."""
        self.released.append(upload.job_id)


class Facts:
    """Keeps what it is told: a kind and what belongs to it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    async def images_stored(self, fact_id: str, upload: Upload, names: Mapping[int, str]) -> None:
        """Images are public."""
        self.told.append(("stored", dict(names)))

    async def upload_failed(self, fact_id: str, upload: Upload, error: UploadError) -> None:
        """They are not."""
        self.told.append(("failed", (error.stage, error.code, error.reason, error.retryable)))


@dataclass(kw_only=True)
class World:
    """An uploader in this process, and both buckets as their owners see them."""

    proxy: StorageProxy
    staging: ObjectStore
    public: ObjectStore
    desk: Desk = field(default_factory=Desk)
    facts: Facts = field(default_factory=Facts)

    async def stage(self, *pictures: bytes) -> tuple[StagedImage, ...]:
        """What a generator has left."""
        images = []
        for index, data in enumerate(pictures):
            name = f"{JOB}/call_1/{index}"
            await self.staging.put(name, data, content_type="image/png", metadata={"seed": "7"})
            digest = hashlib.sha256(data).hexdigest()
            size = len(data)
            images.append(StagedImage(index=index, name=name, content_type="image/png", sha256=digest, size_bytes=size))
        return tuple(images)

    async def run(self, images: tuple[StagedImage, ...], *, max_seconds: float = PATIENCE) -> None:
        """One claim to its end."""
        upload = Upload(
            job_id=JOB,
            claim_number=1,
            lease_token="t",
            lease_seconds=3,
            images=images,
            traceparent="",
            max_seconds=max_seconds,
        )
        store = GcsPublicStore(self.public, staging_bucket=self.proxy.staging, cache_seconds=60)
        await Uploader(self.desk, store, self.facts).run(Slot(token="t", work=upload))

    async def stored(self) -> list[str]:
        """Names in the public bucket."""
        return sorted(one.name for one in await self.public.find(""))


@pytest.fixture
async def world(proxy: StorageProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Everything, nothing staged yet."""
    async with AsyncExitStack() as stack:

        def opened(identity: str, bucket: str) -> ObjectStore:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls[identity])
            store = ObjectStore(bucket, threads=4)
            stack.push_async_callback(store.close)
            return store

        stack.callback(proxy.release)
        yield World(proxy=proxy, staging=opened("generator", proxy.staging), public=opened("uploader", proxy.public))


def names_of(images: tuple[StagedImage, ...]) -> dict[int, str]:
    """Where they belong."""
    return {
        image.index: object_names.public_name(
            job_id=JOB, index=image.index, sha256=image.sha256, content_type=image.content_type
        )
        for image in images
    }


async def test_a_second_upload_of_the_same_finds_everything_done(world: World) -> None:
    images = await world.stage(FIRST, SECOND)
    await world.run(images)
    await world.run(images)

    assert world.facts.told == [("stored", names_of(images))] * 2
    assert world.proxy.count_done("rewrite") == 2
    assert await world.stored() == sorted(names_of(images).values())


async def test_an_upload_that_died_halfway_is_completed(world: World) -> None:
    images = await world.stage(FIRST, SECOND)
    await world.run(images[:1])
    await world.run(images)

    assert world.facts.told[-1] == ("stored", names_of(images))
    assert world.proxy.count_done("rewrite") == 2


async def test_two_uploaders_of_one_job_make_one_set_of_objects_and_both_say_so(world: World) -> None:
    images = await world.stage(FIRST)
    # Both have seen that there is none before either writes: the second meets a violated condition.
    world.proxy.order(Fault.HOLD, on="rewrite", times=2)
    both = asyncio.gather(world.run(images), world.run(images))
    await asyncio.to_thread(world.proxy.wait_for, "rewrite", times=2)
    world.proxy.release()
    await both

    assert world.facts.told == [("stored", names_of(images))] * 2
    assert await world.stored() == list(names_of(images).values())


async def test_something_else_under_the_public_name_is_left_alone_and_told(world: World) -> None:
    images = await world.stage(FIRST)
    [name] = names_of(images).values()
    await world.public.put(name, b"something else", content_type="image/png", metadata={})
    await world.run(images)

    assert world.facts.told == [("failed", ("PERSISTING", "PERMANENT", "RESULT_MISMATCH", False))]
    assert await world.public.get(name) == b"something else"


@pytest.mark.parametrize("fault", [Fault.LOSE_RESPONSE, Fault.HANG_UP, Fault.UNAVAILABLE])
async def test_a_copy_whose_answer_was_lost_is_repeated_and_harms_nothing(world: World, fault: Fault) -> None:
    images = await world.stage(FIRST)
    world.proxy.order(fault, on="rewrite")
    await world.run(images)

    [name] = names_of(images).values()
    assert world.facts.told == [("stored", {0: name})]
    assert await world.public.get(name) == FIRST


async def test_a_store_that_goes_away_is_waited_for(world: World) -> None:
    images = await world.stage(FIRST)
    world.proxy.go_away()
    running = asyncio.create_task(world.run(images))
    await asyncio.to_thread(world.proxy.wait_for, "read", times=3)
    world.proxy.come_back()
    await running

    assert world.facts.told == [("stored", names_of(images))]


async def test_a_store_that_stays_away_fails_the_upload_for_now_and_nothing_else(world: World) -> None:
    images = await world.stage(FIRST)
    world.proxy.go_away(Fault.HANG_UP)
    await world.run(images, max_seconds=0.5)
    world.proxy.come_back()
    await world.run(images)

    assert world.facts.told == [
        ("failed", ("UPLOADING", "TEMPORARY", "STORAGE_UNAVAILABLE", True)),
        ("stored", names_of(images)),
    ]


async def test_an_image_that_is_not_staged_is_a_mismatch_and_the_others_move_no_job(world: World) -> None:
    images = await world.stage(FIRST, SECOND)
    await world.staging.delete(images[1].name)
    await world.run(images)

    assert world.facts.told == [("failed", ("PERSISTING", "PERMANENT", "RESULT_MISMATCH", False))]


async def test_an_uploader_with_a_wrong_identity_is_denied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    images = await world.stage(FIRST)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", world.proxy.urls["generator"])
    stranger = ObjectStore(world.proxy.public, threads=1)
    owner, world.public = world.public, stranger
    await world.run(images)
    await stranger.close()
    world.public = owner

    assert world.facts.told == [("failed", ("UPLOADING", "AUTH_ERROR", "STORAGE_DENIED", False))]
    assert await world.stored() == []


@pytest.mark.parametrize("token", [None, "guessed", STORAGE_TOKENS["generator"]])
async def test_a_browser_cannot_write_where_it_may_read(world: World, token: str | None) -> None:
    images = await world.stage(FIRST)
    await world.run(images)
    [name] = names_of(images).values()
    proxy = world.proxy
    headers = {"Content-Type": "image/png"} | ({"Authorization": f"Bearer {token}"} if token else {})
    upload = f"{proxy.open_url}/upload/storage/v1/b/{proxy.public}/o"
    async with httpx.AsyncClient(trust_env=False, headers=headers) as browser:
        answers = [
            await browser.put(f"{proxy.open_url}/{proxy.public}/{name}", content=b"mine"),
            await browser.post(upload, params={"uploadType": "media", "name": name}, content=b"mine"),
            await browser.put(upload, params={"name": "jobs/new.png"}, content=b"mine"),
            await browser.delete(f"{proxy.open_url}/storage/v1/b/{proxy.public}/o/{name.replace('/', '%2F')}"),
        ]
        read = await browser.get(f"{proxy.open_url}/{proxy.public}/{name}")
        hidden = await browser.get(f"{proxy.open_url}/{proxy.public}/")

    # There is no such call as the first, for whoever shows who he is.
    assert answers[0].status_code in (401, 404)
    assert {answer.status_code for answer in answers[1:]} <= {401, 403}
    assert (read.status_code, read.content) == (200, FIRST)
    # Nobody learns the names of what he was not told.
    assert hidden.status_code in (401, 404)
    assert await world.stored() == [name]
