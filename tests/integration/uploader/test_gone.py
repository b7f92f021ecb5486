"""A canceled job's pictures do not stay public, whenever the copy of an uploader that is gone comes about."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import pytest

from common import folders
from common.emptying import Emptier, Folder
from common.object_store import LONGEST_WRITE_SECONDS, ObjectMissing, ObjectStore
from services.job.domain import timeouts as job_limits
from services.job.store import deletions
from services.uploader.adapters.gcs_store import GcsPublicStore
from services.uploader.domain import StagedImage
from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.proxies.storage_proxy import Fault, StorageProxy
from tests.support.servers import embedded_servers

BYTES = b"x" * 100


@pytest.fixture
def desk(postgres: embedded_servers.Server, template: str) -> Iterator[JobUseCases]:
    """job-service's use cases."""
    url = embedded_servers.copy_database(postgres.url, template)
    with use_cases_at(url) as desk:
        yield desk
    embedded_servers.drop_database(postgres.url, url)


@dataclass(kw_only=True)
class Cleaning:
    """Both buckets, what is to be deleted in them, and an uploader that copies without telling anybody."""

    desk: JobUseCases
    proxy: StorageProxy
    staging: ObjectStore
    public: ObjectStore

    async def upload(self) -> tuple[str, "asyncio.Task[None]"]:
        """A job whose copy is on its way to the store when it is canceled."""
        job = self.desk.upload()
        [found] = self.desk.sql("SELECT * FROM artifacts")
        image = StagedImage(
            index=0, name=found.staged_name, content_type="image/png", sha256=found.sha256, size_bytes=len(BYTES)
        )
        await self.staging.put(image.name, BYTES, content_type="image/png", metadata={})
        self.proxy.order(Fault.HOLD, on="rewrite")
        store = GcsPublicStore(self.public, staging_bucket=self.proxy.staging, cache_seconds=60)
        copying = asyncio.create_task(store.publish(image, f"jobs/{job.id}/0-{image.sha256[:16]}.png"))
        await asyncio.to_thread(self.proxy.wait_for, "rewrite")
        self.desk.cancel(job.id)
        return job.id, copying

    async def empty(self, bucket: str) -> None:
        """Whoever owns the bucket empties what is due."""

        async def claim(tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
            seen = [(one.id, UUID(one.lease_token)) for one in emptied]
            asked = [UUID(token) for token in tokens]
            self.desk.run(lambda c: deletions.note_empty(c, seen))
            held = self.desk.run(lambda c: deletions.claim(c, bucket=bucket, tokens=asked, limits=self.desk.limits))
            return [Folder(id=one.id, prefix=one.prefix, lease_token=str(one.lease_token)) for one in held]

        store = self.public if bucket == "public" else self.staging
        await Emptier(claim=claim, empty=partial(folders.empty, store), is_folder=bool).run_once()

    async def pass_by(self, seconds: float) -> None:
        """Time passes, and whoever owns a bucket looks."""
        self.desk.sql(
            """UPDATE deletions SET asked_at = asked_at - make_interval(secs => :seconds),
            due_at = due_at - make_interval(secs => :seconds)""",
            seconds=seconds,
        )
        for bucket in ("staging", "public"):
            await self.empty(bucket)

    def open_deletions(self) -> int:
        """Folders that are kept in mind."""
        return int(self.desk.sql("SELECT count(*) AS n FROM deletions")[0].n)


@pytest.fixture
async def cleaning(desk: JobUseCases, proxy: StorageProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cleaning]:
    """A store and a database."""
    async with AsyncExitStack() as stack:

        def opened(identity: str, bucket: str) -> ObjectStore:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls[identity])
            store = ObjectStore(bucket, threads=4)
            stack.push_async_callback(store.close)
            return store

        stack.callback(proxy.release)
        staging, public = opened("generator", proxy.staging), opened("uploader", proxy.public)
        yield Cleaning(desk=desk, proxy=proxy, staging=staging, public=public)


async def test_a_copy_that_comes_about_after_its_folder_was_seen_empty_is_deleted_all_the_same(
    cleaning: Cleaning,
) -> None:
    _, copying = await cleaning.upload()
    await cleaning.empty("public")
    cleaning.proxy.release()
    await copying
    came = len(await cleaning.public.find(""))
    await cleaning.pass_by(cleaning.desk.limits.copies_end_seconds)

    assert came == 1
    assert await cleaning.public.find("") == []


async def test_a_worker_that_was_frozen_for_hours_has_nothing_left_to_copy(cleaning: Cleaning) -> None:
    _, copying = await cleaning.upload()
    for seconds in (0, cleaning.desk.limits.staging_ends_seconds, deletions.RECHECK_SECONDS):
        await cleaning.pass_by(seconds)
    forgotten = cleaning.open_deletions() == 0
    cleaning.proxy.release()
    with pytest.raises(ObjectMissing):
        await copying

    assert forgotten
    assert await cleaning.public.find("") == []


def test_job_service_waits_for_as_long_as_a_request_to_the_store_may_take() -> None:
    assert job_limits.LONGEST_WRITE_SECONDS >= LONGEST_WRITE_SECONDS
