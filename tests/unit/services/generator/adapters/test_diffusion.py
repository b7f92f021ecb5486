"""Drawing in one thread: calls wait for each other, one that is let go ends at its next step, and nothing is kept."""

import asyncio
import gc
import io
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from PIL import Image

from services.generator.adapters.providers.diffusers.pipeline_thread import (
    Diffusion,
    DiffusionFailed,
    Drawing,
    DrawingStopped,
    ModelUnusable,
    OutOfMemory,
    Unsupported,
)
from tests.support.patience import PATIENCE

Step = Callable[[float], None]


class Pixels:
    """Memory of a device, as far as a test can tell whether somebody holds it."""


class Stepping:
    """A pipeline that takes its steps when it is let; it keeps who was inside, and when."""

    def __init__(self) -> None:
        self.loads = 0
        self.seen: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.problems: list[Exception] = []
        self.held: list[weakref.ref[Pixels]] = []

    def load(self) -> "Stepping":
        """The pipeline itself."""
        self.loads += 1
        self.threads.add(threading.current_thread())
        return self

    def __call__(self, drawing: Drawing, step: Step) -> list[Image.Image]:
        """Two steps, the second when it is let."""
        pixels = Pixels()
        self.held.append(weakref.ref(pixels))
        self.threads.add(threading.current_thread())
        self.seen.append(f"{drawing.prompt} begins")
        try:
            if self.problems:
                raise self.problems.pop()
            step(0.25)
            self.inside.set()
            assert self.go_on.wait(PATIENCE)
            step(0.75)
            return [Image.new("RGB", drawing.size or (8, 8), (seed, 0, 0)) for seed in drawing.seeds]
        finally:
            self.seen.append(f"{drawing.prompt} ends")


class OutOfMemoryError(RuntimeError):
    """As a device's library calls its own."""


@pytest.fixture
def pipeline() -> Stepping:
    """Waits for nobody."""
    made = Stepping()
    made.go_on.set()
    return made


@pytest.fixture
async def diffusion(pipeline: Stepping) -> AsyncIterator[Diffusion]:
    """Draws with it."""
    opened = Diffusion(pipeline.load)
    yield opened
    pipeline.go_on.set()
    await opened.close()


def drawing(prompt: str = "a", **fields: Any) -> Drawing:
    """One small picture."""
    return Drawing(**({"prompt": prompt, "seeds": (7,), "output_format": "png"} | fields))


def heard(share: float) -> None:
    """Progress that nobody looks at."""


async def until(event: threading.Event) -> None:
    """Wait for what happens in the thread."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_each_seed_brings_a_picture_of_the_size_and_format(diffusion: Diffusion, output_format: str) -> None:
    made = await diffusion.draw(drawing(seeds=(7, 200), size=(64, 32), output_format=output_format), heard)
    images = [Image.open(io.BytesIO(data)) for data in made]

    assert [(image.format, image.size) for image in images] == [(output_format.upper(), (64, 32))] * 2
    assert [image.convert("RGB").getpixel((0, 0))[0] for image in images] == pytest.approx([7, 200], abs=3)  # type: ignore[index]


async def test_a_model_is_loaded_once_and_used_in_one_thread(diffusion: Diffusion, pipeline: Stepping) -> None:
    assert pipeline.loads == 0

    await asyncio.gather(*(diffusion.draw(drawing(name), heard) for name in "abc"))

    assert (pipeline.loads, len(pipeline.threads)) == (1, 1)
    assert threading.current_thread() not in pipeline.threads
    assert pipeline.seen == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_progress_is_told_in_the_loop_before_the_picture_is_there(diffusion: Diffusion) -> None:
    told: list[tuple[float, int]] = []
    await diffusion.draw(drawing(), lambda share: told.append((share, threading.get_ident())))

    assert told == [(share, threading.get_ident()) for share in (0.0, 0.25, 0.75)]


async def test_a_drawing_that_is_let_go_ends_at_its_next_step_and_then_the_next_begins(
    diffusion: Diffusion, pipeline: Stepping
) -> None:
    pipeline.go_on.clear()
    told: list[float] = []
    unwanted = asyncio.create_task(diffusion.draw(drawing("a"), told.append))
    await until(pipeline.inside)
    next_one = asyncio.create_task(diffusion.draw(drawing("b"), heard))
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    # Its step goes on, and nobody else is inside meanwhile.
    assert pipeline.seen == ["a begins"]
    pipeline.go_on.set()
    async with asyncio.timeout(PATIENCE):
        await next_one

    assert pipeline.seen == ["a begins", "a ends", "b begins", "b ends"]
    assert 0.75 not in told


async def test_a_drawing_that_is_let_go_while_it_waits_never_begins(diffusion: Diffusion, pipeline: Stepping) -> None:
    pipeline.go_on.clear()
    first = asyncio.create_task(diffusion.draw(drawing("a"), heard))
    await until(pipeline.inside)
    unwanted = asyncio.create_task(diffusion.draw(drawing("b"), heard))
    await asyncio.sleep(0)
    unwanted.cancel()
    # To cancel is a wish: it comes true when the task is done.
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    pipeline.go_on.set()
    await first
    await diffusion.draw(drawing("c"), heard)

    assert pipeline.seen == ["a begins", "a ends", "c begins", "c ends"]


async def test_a_drawing_that_is_let_go_while_the_model_loads_leaves_the_model_to_the_next() -> None:
    made, begun, go_on = Stepping(), threading.Event(), threading.Event()
    made.go_on.set()

    def load() -> Stepping:
        begun.set()
        assert go_on.wait(PATIENCE)
        return made.load()

    diffusion = Diffusion(load)
    unwanted = asyncio.create_task(diffusion.draw(drawing("a"), heard))
    await until(begun)
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    go_on.set()
    await diffusion.draw(drawing("b"), heard)
    await diffusion.close()

    assert (made.loads, made.seen) == (1, ["b begins", "b ends"])


@pytest.mark.parametrize(
    "problem",
    [
        OutOfMemoryError("Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
    ids=["class", "words", "processor", "python"],
)
async def test_a_lack_of_memory_is_told_as_such_and_holds_none_of_it(
    diffusion: Diffusion, pipeline: Stepping, problem: Exception
) -> None:
    pipeline.problems.append(problem)
    with pytest.raises(OutOfMemory) as failure:
        await diffusion.draw(drawing(), heard)

    # The frames of what was really raised hold the memory; they are not to be reached from here.
    assert (failure.value.__context__, failure.value.__cause__) == (None, None)
    assert all("pixels" not in entry.frame.f_locals for entry in failure.traceback)


async def test_what_a_stopped_drawing_held_is_free_before_the_next_begins(
    diffusion: Diffusion, pipeline: Stepping
) -> None:
    pipeline.go_on.clear()
    unwanted = asyncio.create_task(diffusion.draw(drawing(), heard))
    await until(pipeline.inside)
    gc.disable()
    try:
        unwanted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unwanted
        pipeline.go_on.set()
        await diffusion.draw(drawing(), heard)

        assert pipeline.held[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("problem", [RuntimeError("device-side assert"), TypeError("defect")])
async def test_a_defect_is_no_failure_of_the_device(
    diffusion: Diffusion, pipeline: Stepping, problem: Exception
) -> None:
    pipeline.problems.append(problem)
    with pytest.raises(type(problem), match=str(problem)):
        await diffusion.draw(drawing(), heard)


async def test_a_model_that_does_not_load_is_tried_again_by_the_next() -> None:
    made = Stepping()
    made.go_on.set()
    problems = [ModelUnusable("gone"), OutOfMemoryError("full")]

    def load() -> Stepping:
        if problems:
            raise problems.pop(0)
        return made.load()

    diffusion = Diffusion(load)
    failures: list[type[DiffusionFailed]] = [ModelUnusable, OutOfMemory]
    for failure in failures:
        with pytest.raises(failure):
            await diffusion.draw(drawing(), heard)
    await diffusion.draw(drawing(), heard)
    await diffusion.close()

    assert made.loads == 1


async def test_a_pipeline_that_chooses_another_size_is_found_out() -> None:
    diffusion = Diffusion(lambda: lambda drawing, step: [Image.new("RGB", (64, 48))])
    with pytest.raises(Unsupported, match="made 64x48"):
        await diffusion.draw(drawing(size=(64, 50)), heard)
    await diffusion.close()


async def test_closing_stops_the_drawing_and_waits_for_its_thread(pipeline: Stepping) -> None:
    pipeline.go_on.clear()
    diffusion = Diffusion(pipeline.load)
    under_way = asyncio.create_task(diffusion.draw(drawing(), heard))
    await until(pipeline.inside)
    closing = asyncio.create_task(diffusion.close())
    await asyncio.sleep(0.01)
    pipeline.go_on.set()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(DrawingStopped):
            await under_way
        await closing

    assert [thread.is_alive() for thread in pipeline.threads] == [False]
