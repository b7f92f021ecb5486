"""Pictures that take a generator's memory or its processes take nothing of anybody else's.

`HOSTILE_PICTURES=200` plays the long form.
"""

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2
from PIL import ExifTags, Image

from common.loops import pause_until
from services.generator.adapters.images.decoding import processes
from services.generator.adapters.images.decoding.processes import RESULTS, DecodingProcesses
from tests.support.images.image_bombs import jpeg_that_claims, png_of, turned_webp, webp_that_claims
from tests.support.patience import PATIENCE
from tests.support.processes import generator_environment
from tests.support.processes.generator_environment import World
from tests.support.providers.paid_provider import Books, bomb, paid_provider, png
from tests.support.proxies.storage_proxy import StorageProxy, storage_proxy
from tests.support.servers.embedded_servers import Server

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
#: Jobs with a hostile picture each.
HOSTILE = int(os.environ.get("HOSTILE_PICTURES", "12"))
SLOTS = "16"
CAMERA, AUTHOR = b"SecretCam", b"Jane Doe"
#: What a process takes that decodes nothing.
OF_A_PROCESS = 48 * MIB
#: Seconds between two looks at the memory: a picture is decoded for longer.
LOOK = 0.02


@pytest.fixture
def proxy(storage: Server) -> Iterator[StorageProxy]:
    """The store, with buckets of the test's own."""
    with storage_proxy(storage.url) as running:
        yield running


@pytest.fixture
def books() -> Iterator[Books]:
    """The paid provider's books."""
    with paid_provider() as found:
        yield found
        found.release_hanging()


@pytest.fixture
async def world(
    database_url: str,
    nats: Server,
    proxy: StorageProxy,
    books: Books,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    """Everything but the generator."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["generator"])
    async with generator_environment.opened(
        database_url, nats=nats, proxy=proxy, books=books, folder=tmp_path
    ) as found:
        yield found


def limit() -> int:
    """Bytes that the manifest lets a generator have."""
    manifest = (ROOT / "deploy" / "k8s" / "base" / "generator.yaml").read_text(encoding="utf-8")
    [gibibytes] = re.findall(r"limits: \{memory: (\d+)Gi\}", manifest)
    return int(gibibytes) * 1024 * MIB


async def watch(process: psutil.Process, until: asyncio.Event, *, only: str = "") -> int:
    """The most memory that a process and all of its children have at once; or those alone that run a module."""
    peak = 0
    while not until.is_set():
        running = [process, *process.children(recursive=True)]
        peak = max(peak, sum(_memory(one) for one in running if not only or only in _command(one)))
        await pause_until(until, seconds=LOOK)
    return peak


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def edit(world: World, data: bytes, *, tenant: str = "acme", prompt: str = "a harbour") -> str:
    """A job that brings a picture."""
    brought = [job_pb2.InputImage(data=data, content_type="image/png")]
    return world.desk.add(tenant=tenant, provider="edits", prompt=prompt, input_images=brought)


def photo() -> bytes:
    """A JPEG as a telephone writes it."""
    told = Image.Exif()
    told[ExifTags.Base.Make] = CAMERA.decode()
    told[ExifTags.Base.Artist] = AUTHOR.decode()
    told.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.3)
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(file, "JPEG", exif=told, comment=AUTHOR)
    return file.getvalue()


async def facts(world: World, count: int) -> dict[str, fact_pb2.Fact]:
    """What became of so many jobs."""
    found: dict[str, fact_pb2.Fact] = {}
    while len(found) < count:
        fact = await world.next_fact()
        told = fact.images_generated if fact.HasField("images_generated") else fact.stage_failed
        found[told.fence.job_id] = fact
    return found


async def test_hostile_pictures_leave_a_generator_within_its_memory_and_everybody_elses_calls_alone(
    world: World,
) -> None:
    paid = edit(world, png(), tenant="rival", prompt="hangs")
    process = psutil.Process(world.start(GENERATOR_SLOTS=SLOTS).pid)
    await asyncio.to_thread(world.books.wait_for_edit)
    files = (turned_webp(), turned_webp(), png_of(9_999, 5_000), bomb(), jpeg_that_claims(65_000, 60_000))
    hostile = [edit(world, files[number % len(files)]) for number in range(HOSTILE)]
    over = asyncio.Event()
    watching = asyncio.create_task(watch(process, over))
    ends = await facts(world, HOSTILE)
    over.set()
    peak = await watching
    world.books.release_hanging()
    ends |= await facts(world, 1)

    print(f"{HOSTILE} hostile pictures: {peak // MIB} MiB at most")
    assert peak < limit()
    assert ends.keys() == {paid, *hostile}
    assert len(ends[paid].images_generated.images) == 1
    assert sum(b"hangs" in one for one in world.books.edits) == 1
    assert process.is_running()


async def test_ten_images_of_one_answer_that_are_all_as_large_as_may_be_take_turns() -> None:
    decoder, over = DecodingProcesses(), asyncio.Event()
    watching = asyncio.create_task(watch(psutil.Process(), over, only=processes.MODULE))
    seen = await asyncio.gather(*(decoder.inspect(turned_webp(), lane=RESULTS) for _ in range(10)))
    over.set()
    peak = await watching
    await decoder.close()

    assert [(one.width, one.height) for one in seen] == [(5_000, 10_000)] * 10
    # Two of other tests may be there as well.
    assert peak < processes.MAX_MEMORY + (processes.PROCESSES + 2) * OF_A_PROCESS


async def test_a_picture_that_kills_its_process_is_refused_as_an_input_and_says_why(world: World) -> None:
    job_id = edit(world, webp_that_claims(16_000, 3_000))
    world.start()
    failure = (await facts(world, 1))[job_id].stage_failed.failure

    assert (failure.stage, failure.reason) == (error_pb2.STAGE_PROCESSING, error_pb2.REASON_INVALID_INPUT)
    assert world.books.edits == []


async def test_where_and_by_whom_a_picture_was_taken_reaches_no_vendor_and_the_job_says_so(world: World) -> None:
    job_id = edit(world, photo())
    world.start()
    made = (await facts(world, 1))[job_id].images_generated
    [sent] = world.books.edits

    assert not any(secret in sent for secret in (CAMERA, AUTHOR, b"GPS", b"Exif"))
    assert [(one.reason, one.HasField("image_index")) for one in made.warnings] == [
        (error_pb2.REASON_METADATA_REMOVED, False)
    ]


async def test_processes_that_are_killed_while_they_decode_lose_nothing(world: World) -> None:
    """As the system does when there is no memory left."""
    jobs = {edit(world, png_of(9_999, 5_000)) for _ in range(3)}
    process = psutil.Process(world.start(GENERATOR_SLOTS=SLOTS).pid)
    killed = None
    async with asyncio.timeout(PATIENCE):
        while killed is None:
            await pause_until(asyncio.Event(), seconds=LOOK)
            decoding = [one for one in process.children() if processes.MODULE in _command(one)]
            killed = next((one for one in decoding if _memory(one) > 80 * MIB), None)
        killed.kill()
        ends = await facts(world, len(jobs))

    assert {job for job, fact in ends.items() if len(fact.images_generated.images) == 1} == jobs
    assert len(world.books.edits) == len(jobs)
