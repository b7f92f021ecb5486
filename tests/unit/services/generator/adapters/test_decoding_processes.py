"""Images are decoded in processes that may die: that fails their image at most, and nothing of the service is there."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

import services.generator
from common.loops import pause_until
from services.generator.adapters.images.decoding import processes
from services.generator.adapters.images.decoding.processes import INPUTS, RESULTS, DecodingProcesses
from services.generator.adapters.images.size import size_of
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import StageError
from tests.support.images.image_bombs import IMAGES, encoded, jpeg_that_claims, png_of, webp_that_claims
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import bomb, png

MIB = 1024 * 1024
#: Lacks its end, so that it is decoded three times.
SLOW = encoded("JPEG", size=(10_000, 5_000), progressive=True, quality=1)[:-2]
GENERATOR = Path(services.generator.__file__).parent


@pytest.fixture(autouse=True)
def strangers() -> set[int]:
    """Processes that decode for other tests, as far as there are any."""
    return {one.pid for one in children(set())}


@pytest.fixture
async def decoder(strangers: set[int]) -> AsyncIterator[DecodingProcesses]:
    """One process."""
    opened = DecodingProcesses(processes=1)
    yield opened
    await opened.close()


def children(strangers: set[int]) -> list[psutil.Process]:
    """Processes that decode here."""
    own = [one for one in psutil.Process().children() if one.pid not in strangers]
    return [one for one in own if processes.MODULE in one.cmdline()]


async def frozen(decoder: DecodingProcesses, strangers: set[int]) -> psutil.Process:
    """The one process, which does nothing any more."""
    await decoder.inspect(png(), lane=RESULTS)
    [child] = children(strangers)
    child.suspend()
    return child


async def test_a_process_that_is_killed_in_the_midst_of_an_image_loses_nothing(
    decoder: DecodingProcesses, strangers: set[int]
) -> None:
    async with asyncio.timeout(PATIENCE):
        child = await frozen(decoder, strangers)
        looking = asyncio.create_task(decoder.inspect(png(), lane=RESULTS))
        waiting = asyncio.create_task(decoder.inspect(png(), lane=INPUTS))
        await asyncio.sleep(0)
        assert decoder.held > 0
        child.kill()

        assert {(seen.width, seen.height) for seen in await asyncio.gather(looking, waiting)} == {(96, 64)}


async def test_a_process_that_is_killed_while_it_is_sent_an_image_loses_nothing(
    decoder: DecodingProcesses, strangers: set[int]
) -> None:
    large = png() + bytes(8 * MIB)
    async with asyncio.timeout(PATIENCE):
        child = await frozen(decoder, strangers)
        looking = asyncio.create_task(decoder.inspect(large, lane=RESULTS))
        await asyncio.sleep(0)
        child.kill()

        assert (await looking).width == 96
    assert not child.is_running()


async def test_processes_that_are_killed_while_they_wait_for_work_fail_no_image(strangers: set[int]) -> None:
    opened = DecodingProcesses(processes=3)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(opened.inspect(png(), lane=RESULTS) for _ in range(3)))
        waiting = children(strangers)
        for child in waiting:
            child.kill()
        while any(child.status() != psutil.STATUS_ZOMBIE for child in waiting):
            await pause_until(asyncio.Event(), seconds=0.01)

        assert (await opened.inspect(png(), lane=RESULTS)).width == 96
    await opened.close()
    assert len(waiting) == 3


async def test_an_image_that_takes_more_time_than_it_may_is_refused_and_the_next_is_not(
    decoder: DecodingProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "CPU_SECONDS", 0)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StageError) as refusal:
            await decoder.mask(SLOW, MaskForm.TWO_WAY)
        monkeypatch.undo()

        assert (await decoder.inspect(png(), lane=RESULTS)).width == 96
    assert refusal.value.reason == "INVALID_IMAGE"


async def test_a_process_that_hangs_is_ended(
    decoder: DecodingProcesses, strangers: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(PATIENCE):
        child = await frozen(decoder, strangers)
        monkeypatch.setattr(processes, "MAX_SECONDS", 0.01)
        with pytest.raises(StageError) as refusal:
            await decoder.inspect(png(), lane=RESULTS)
    assert refusal.value.reason == "INVALID_IMAGE"
    assert not child.is_running()


async def test_whoever_gives_up_gives_back_what_was_his(decoder: DecodingProcesses, strangers: set[int]) -> None:
    async with asyncio.timeout(PATIENCE):
        child = await frozen(decoder, strangers)
        looking = asyncio.create_task(decoder.inspect(png(), lane=RESULTS))
        await asyncio.sleep(0)
        assert decoder.held > 0
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking

        assert (await decoder.inspect(png(), lane=RESULTS)).width == 96
    assert decoder.held == 0
    assert not child.is_running()


async def test_without_processes_an_image_is_looked_at_later(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = DecodingProcesses(processes=1)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StageError) as refusal:
        await decoder.inspect(png(), lane=RESULTS)
    monkeypatch.undo()

    assert (refusal.value.reason, refusal.value.retryable) == ("SERVICE_UNAVAILABLE", True)
    assert (await decoder.inspect(png(), lane=RESULTS)).width == 96
    await decoder.close()


@pytest.mark.parametrize(
    "data",
    [bomb(), jpeg_that_claims(65_000, 65_000), webp_that_claims(16_384, 16_384), png_of(5001, 10_000)],
    ids=["PNG", "JPEG", "WebP", "pixels that are there"],
)
async def test_what_claims_too_many_pixels_is_refused_before_they_are_made(
    decoder: DecodingProcesses, strangers: set[int], data: bytes
) -> None:
    async with asyncio.timeout(PATIENCE):
        await decoder.inspect(png(), lane=RESULTS)
        [child] = children(strangers)
        before = child.memory_info().rss
        with pytest.raises(StageError):
            await decoder.inspect(data, lane=INPUTS)
        after = children(strangers)[0].memory_info().rss if children(strangers) else 0
    assert after - before < 32 * MIB


async def test_the_memory_of_a_process_is_limited_by_the_system(
    decoder: DecodingProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_REST", 1)
    monkeypatch.setattr(processes, "_PER_PIXEL", dict.fromkeys((b"\x89PNG", b"RIFF"), 0))
    small = DecodingProcesses(processes=1, memory=64 * MIB)
    with pytest.raises(StageError) as refusal:
        await small.inspect(png_of(7000, 7000), lane=INPUTS)
    await small.close()
    # With all there is, what its header did not tell of is decoded all the same.
    assert (await decoder.inspect(png_of(7000, 7000), lane=INPUTS)).width == 7000
    assert (refusal.value.reason, refusal.value.retryable) == ("TOO_LARGE", False)


async def test_what_would_be_written_larger_than_is_sent_is_refused_as_that(
    decoder: DecodingProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(StageError) as refusal:
        await decoder.rewritten(png())
    assert refusal.value.reason == "TOO_LARGE"


async def test_nothing_of_the_service_is_in_a_process(
    decoder: DecodingProcesses, strangers: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAID_API_KEY", "sk-a-secret-of-the-operator")
    await decoder.inspect(png(), lane=RESULTS)
    [child] = children(strangers)

    assert set(child.environ()) <= {"LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "LC_CTYPE"}
    # Its pipes, and what all processes of this one share for their complaints.
    assert child.num_fds() <= 4


def test_processes_end_with_whoever_started_them() -> None:
    script = (
        "import asyncio, sys, time\n"
        "from services.generator.adapters.images.decoding.processes import DecodingProcesses\n"
        "from tests.support.providers.paid_provider import png\n"
        "asyncio.run(DecodingProcesses(processes=1).inspect(png(), lane=0))\n"
        "print('decoded', flush=True)\n"
        "time.sleep(1000)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"decoded\n"
        running = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(running, timeout=PATIENCE)

    assert running
    assert alive == []


@pytest.mark.parametrize("name", IMAGES)
def test_the_size_in_a_header_is_that_of_the_pixels(name: str) -> None:
    data, size = IMAGES[name]

    assert size_of(data) == size


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"\xff" * 99]
)
def test_a_header_that_cannot_be_read_tells_no_size(data: bytes) -> None:
    assert size_of(data) is None


def test_only_what_runs_in_a_process_opens_images_of_others() -> None:
    opening = [
        path.relative_to(GENERATOR).as_posix()
        for path in GENERATOR.rglob("*.py")
        if "Image.open" in path.read_text(encoding="utf-8")
    ]
    assert opening == ["adapters/images/decoding/pixels.py"]
