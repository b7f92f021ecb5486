"""One upload: what is copied, what is told, and what is left alone."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import pytest
from calotype.error_reasons import Reason

from common.errors import ServiceError
from common.jetstream import BrokerUnavailable
from common.leased_work import Renewal, Slot
from common.object_store import ObjectConflict, ObjectDiffers, ObjectMissing, StorageDenied, StorageUnavailable
from services.uploader.application import Uploader
from services.uploader.domain import StagedImage, Upload, UploadError
from tests.support.patience import PATIENCE


class FakeStore:
    """Copies at once, but for the problems that wait under an image's index; `held` images wait for the test."""

    def __init__(self) -> None:
        self.public: dict[str, str] = {}
        self.tried: asyncio.Queue[int] = asyncio.Queue()
        self.problems: dict[int, list[Exception]] = {}
        self.held: dict[int, asyncio.Event] = {}
        self.emptied: list[str] = []
        self.empty_problems: dict[str, Exception] = {}

    async def publish(self, image: StagedImage, name: str) -> None:
        """Copy."""
        await self.tried.put(image.index)
        if image.index in self.held:
            await self.held[image.index].wait()
        if self.problems.get(image.index):
            raise self.problems[image.index].pop(0)
        self.public[name] = image.name

    async def empty(self, prefix: str) -> int:
        """Empty a folder."""
        if prefix in self.empty_problems:
            raise self.empty_problems[prefix]
        self.emptied.append(prefix)
        gone = [name for name in self.public if name.startswith(prefix)]
        for name in gone:
            del self.public[name]
        return len(gone)


class FakeFacts:
    """Keeps what it is told, after so many refusals."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.refusals = refusals
        self.told: list[tuple[str, str, Any]] = []
        self.asked: asyncio.Queue[str] = asyncio.Queue()

    async def images_stored(self, fact_id: str, upload: Upload, names: Mapping[int, str]) -> None:
        """Images are public."""
        await self._take("images_stored", fact_id, dict(names))

    async def upload_failed(self, fact_id: str, upload: Upload, error: UploadError) -> None:
        """They are not."""
        await self._take("upload_failed", fact_id, error)

    async def _take(self, kind: str, fact_id: str, value: Any) -> None:
        await self.asked.put(fact_id)
        if self.refusals > 0:
            self.refusals -= 1
            raise BrokerUnavailable("The broker is away.")
        self.told.append((kind, fact_id, value))


class FakeDesk:
    """Takes uploads back."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.away = False

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Upload]]:
        """Nothing."""
        return []

    async def renew(self, uploads: Sequence[Upload]) -> Mapping[str, Renewal]:
        """Nothing."""
        return {}

    async def release(self, upload: Upload) -> None:
        """Take it back."""
        if self.away:
            raise ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="Away.")
        self.released.append(upload.job_id)


class World:
    """An uploader among fakes, and a slot with two images."""

    def __init__(self, *, max_seconds: float = PATIENCE, refusals: int = 0) -> None:
        self.desk, self.store, self.facts = FakeDesk(), FakeStore(), FakeFacts(refusals=refusals)
        self.uploader = Uploader(self.desk, self.store, self.facts)
        images = tuple(
            StagedImage(
                index=index,
                name=f"job_1/call_1/{index}",
                content_type="image/png",
                sha256=f"{index}" * 64,
                size_bytes=3,
            )
            for index in range(2)
        )
        upload = Upload(
            job_id="job_1",
            claim_number=4,
            lease_token="t",
            lease_seconds=3,
            images=images,
            traceparent="",
            max_seconds=max_seconds,
        )
        self.slot = Slot(token="t", work=upload)

    def lose(self, outcome: Renewal) -> None:
        """The lease ends."""
        self.slot.outcome = outcome
        self.slot.ended.set()

    async def run(self) -> None:
        """To the end."""
        async with asyncio.timeout(PATIENCE):
            await self.uploader.run(self.slot)

    def start(self) -> asyncio.Task[None]:
        """In the background."""
        return asyncio.create_task(self.run())


NAMES = {0: "jobs/job_1/0-0000000000000000.png", 1: "jobs/job_1/1-1111111111111111.png"}


async def test_all_images_are_public_before_it_is_said() -> None:
    world = World()
    world.store.held[1] = asyncio.Event()
    running = world.start()
    assert {await world.store.tried.get(), await world.store.tried.get()} == {0, 1}
    assert world.facts.told == []
    world.store.held[1].set()
    await running

    assert world.store.public == {NAMES[0]: "job_1/call_1/0", NAMES[1]: "job_1/call_1/1"}
    assert [(kind, value) for kind, _, value in world.facts.told] == [("images_stored", NAMES)]
    assert world.desk.released == []


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (ObjectMissing(), ("PERSISTING", "PERMANENT", "RESULT_MISMATCH", False)),
        (ObjectDiffers(), ("PERSISTING", "PERMANENT", "RESULT_MISMATCH", False)),
        (ObjectConflict(), ("PERSISTING", "PERMANENT", "RESULT_MISMATCH", False)),
        (StorageDenied(), ("UPLOADING", "AUTH_ERROR", "STORAGE_DENIED", False)),
    ],
)
async def test_a_failure_that_stays_is_told_where_it_happened(
    problem: Exception, expected: tuple[str, str, str, bool]
) -> None:
    world = World()
    world.store.problems[1] = [problem]

    await world.run()

    ((kind, _, error),) = world.facts.told
    assert (kind, (error.stage, error.code, error.reason, error.retryable)) == ("upload_failed", expected)


async def test_one_failed_image_ends_the_tries_of_the_others() -> None:
    world = World()
    world.store.problems[0] = [StorageUnavailable("away")] * 1000
    world.store.problems[1] = [ObjectConflict()]

    await world.run()

    left = len(world.store.problems[0])
    assert [kind for kind, _, _ in world.facts.told] == ["upload_failed"]
    assert left >= 999


async def test_a_store_that_comes_back_in_time_costs_nothing_but_time() -> None:
    world = World()
    world.store.problems[0] = [StorageUnavailable("away")]

    await world.run()

    assert [kind for kind, _, _ in world.facts.told] == ["images_stored"]


async def test_a_store_that_stays_away_for_the_whole_stage_fails_the_stage_for_now() -> None:
    world = World(max_seconds=0.1)
    world.store.problems[0] = [StorageUnavailable("away")] * 1000

    await world.run()

    ((kind, _, error),) = world.facts.told
    assert (kind, error.stage, error.code, error.reason, error.retryable) == (
        "upload_failed",
        "UPLOADING",
        "TEMPORARY",
        "STORAGE_UNAVAILABLE",
        True,
    )


async def test_a_lost_lease_begins_no_copy_and_says_nothing() -> None:
    world = World()
    world.lose(Renewal.LOST)

    await world.run()

    assert world.store.tried.empty()
    assert (world.facts.told, world.desk.released, world.store.emptied) == ([], [], [])


async def test_a_lease_that_is_lost_during_the_last_copy_moves_no_job() -> None:
    world = World()
    world.store.held = {0: asyncio.Event(), 1: asyncio.Event()}
    running = world.start()
    await world.store.tried.get()
    world.lose(Renewal.LOST)
    for held in world.store.held.values():
        held.set()
    await running

    assert (world.facts.told, world.desk.released, world.store.emptied) == ([], [], [])
    assert len(world.store.public) == 2


async def test_a_lost_lease_ends_the_wait_for_a_store_that_is_away() -> None:
    world = World(max_seconds=10_000)
    world.store.problems = {0: [StorageUnavailable("away")] * 1000, 1: [StorageUnavailable("away")] * 1000}
    running = world.start()
    await world.store.tried.get()
    world.lose(Renewal.LOST)
    await running

    assert world.facts.told == []


async def test_what_was_copied_for_a_job_that_was_canceled_meanwhile_is_deleted_again() -> None:
    world = World()
    world.store.held[1] = asyncio.Event()
    running = world.start()
    await world.store.tried.get()
    await world.store.tried.get()
    world.lose(Renewal.CANCELED)
    world.store.held[1].set()
    await running

    assert world.store.emptied == ["jobs/job_1/"]
    assert world.store.public == {}
    assert (world.facts.told, world.desk.released) == ([], [])


async def test_a_fact_keeps_its_id_until_the_broker_takes_it() -> None:
    world = World(refusals=2)

    await world.run()

    tried = [world.facts.asked.get_nowait() for _ in range(3)]
    assert len(set(tried)) == 1
    assert [fact_id for _, fact_id, _ in world.facts.told] == tried[:1]


async def test_a_lost_lease_ends_the_wait_for_a_broker_that_is_away() -> None:
    world = World(refusals=1000)
    running = world.start()
    await world.facts.asked.get()
    world.lose(Renewal.LOST)
    await running

    assert world.facts.told == []


async def test_at_the_end_of_the_process_copies_under_way_are_finished_and_told() -> None:
    world = World()
    world.store.held = {0: asyncio.Event(), 1: asyncio.Event()}
    running = world.start()
    await world.store.tried.get()
    await world.store.tried.get()
    world.slot.stopping.set()
    for held in world.store.held.values():
        held.set()
    await running

    assert [kind for kind, _, _ in world.facts.told] == ["images_stored"]
    assert world.desk.released == []


async def test_at_the_end_of_the_process_what_cannot_be_copied_now_is_handed_back() -> None:
    world = World(max_seconds=10_000)
    world.store.problems[0] = [StorageUnavailable("away")] * 1000
    running = world.start()
    await world.store.tried.get()
    world.slot.stopping.set()
    await running

    assert world.desk.released == ["job_1"]
    assert world.facts.told == []


async def test_at_the_end_of_the_grace_the_job_is_handed_back() -> None:
    world = World()
    world.store.held[0] = asyncio.Event()
    running = world.start()
    await world.store.tried.get()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert world.desk.released == ["job_1"]


async def test_a_job_that_cannot_be_handed_back_is_left_to_its_lease(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.desk.away = True
    world.slot.stopping.set()

    await world.run()

    assert "upload.not_released" in caplog.messages
