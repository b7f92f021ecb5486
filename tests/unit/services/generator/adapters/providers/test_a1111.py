"""The provider kind `a1111`: what its golden does not show."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import Image

from common.config import ConfigError
from services.generator.adapters.providers.a1111.entry import A1111Entry
from services.generator.adapters.providers.a1111.provider import A1111Provider
from services.generator.domain.jobs import InputImage, Request
from services.generator.domain.provider_results import CancelOutcome, Operation, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.patience import PATIENCE
from tests.support.providers.http_transport import HandlerTransport

ORDER = ProviderRequest(
    call_id="call_1", idempotency_key="call_1", model="xl", count=1, request=Request(prompt="a harbour")
)
DONE = {"images": ["MA=="], "parameters": {}, "info": json.dumps({"all_seeds": [7]})}


def entry(**told: Any) -> A1111Entry:
    """An entry of the provider file."""
    return A1111Entry.model_validate(
        {"name": "studio", "kind": "a1111", "models": [{"name": "xl"}], "allowed_options": "any"} | told
    )


def _picture(width: int, height: int, colour: Any = "white", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), colour).save(file, "PNG")
    return file.getvalue()


class Server:
    """Answers by path; keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._answers = {"txt2img": DONE, "img2img": DONE} | answers

    def take(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        path = request.url.path
        self.asked.append((path, json.loads(request.content) if request.content else None))
        told = self._answers.get(path.rpartition("/")[2] if path != "/internal/progress" else "task", 404)
        return httpx.Response(told) if isinstance(told, int) else httpx.Response(200, json=told)


async def sent(order: ProviderRequest, **told: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of the request that an order becomes."""
    server = Server()
    provider = A1111Provider(entry(**told), api_key="", transport=HandlerTransport(server.take))
    try:
        await provider.submit(order)
    finally:
        await provider.close()
    [(path, body)] = server.asked
    return path, body


@pytest.mark.parametrize(
    ("count", "most", "batches"),
    [(1, 4, (1, 1)), (4, 4, (4, 1)), (4, 1, (1, 4)), (4, 3, (2, 2)), (6, 4, (3, 2)), (5, 4, (1, 5))],
)
async def test_images_are_drawn_in_the_largest_batches_that_are_alike(
    count: int, most: int, batches: tuple[int, int]
) -> None:
    settings = {"max_images_per_call": 10, "max_batch_size": most}
    _, body = await sent(replace(ORDER, count=count), settings=settings)

    assert (body["batch_size"], body["n_iter"]) == batches


@pytest.mark.parametrize(("seed", "taken"), [(0, 0), (2**32 - 1, 2**32 - 1), (2**32 + 5, 5), (2**63 - 1, 2**32 - 1)])
async def test_a_seed_is_folded_into_those_that_every_sampler_takes(seed: int, taken: int) -> None:
    _, body = await sent(replace(ORDER, seed=seed))

    assert body["seed"] == taken


async def test_the_same_call_has_the_same_seed_when_it_is_sent_again_and_another_has_another() -> None:
    seeds = [(await sent(replace(ORDER, idempotency_key=key)))[1]["seed"] for key in ("a", "a", "b")]

    assert seeds[0] == seeds[1] != seeds[2]


def _with(*pictures: bytes, mask: bytes | None = None) -> ProviderRequest:
    places = [InputImage(index=number, url=None, content_type="image/png") for number in range(len(pictures))]
    places += [InputImage(index=-1, url=None, content_type="image/png")] if mask else []
    request = replace(ORDER.request, inputs=tuple(places))
    return replace(ORDER, request=request, inputs=(*pictures, mask) if mask else pictures)


async def test_a_picture_and_its_mask_are_sent_to_be_drawn_anew() -> None:
    path, body = await sent(_with(picture := _picture(64, 64), mask=b"a mask"))

    assert path == "/sdapi/v1/img2img"
    assert [base64.b64decode(one) for one in (*body["init_images"], body["mask"])] == [picture, b"a mask"]


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((640, 400), (640, 400)), ((641, 399), (640, 400)), ((4096, 1024), (2048, 512)), ((40, 4000), (64, 2048))],
)
async def test_without_a_size_an_edit_has_about_the_pictures_own(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    _, body = await sent(_with(_picture(*size)))

    assert (body["width"], body["height"]) == drawn


async def test_whole_numbers_stay_whole_and_settings_of_the_job_stand_beside_the_checkpoint() -> None:
    given = {"steps": 30, "cfg_scale": 7.5, "override_settings": {"CLIP_stop_at_last_layers": 2}}
    _, body = await sent(replace(ORDER, request=replace(ORDER.request, options=given)))

    assert (body["steps"], type(body["steps"]), body["cfg_scale"]) == (30, int, 7.5)
    assert body["override_settings"] == {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "xl"}


@pytest.mark.parametrize(
    "given",
    [
        {"send_images": False},
        {"force_task_id": "theirs"},
        {"init_images": ["http://elsewhere/"]},
        {"batch_size": 8},
        {"save_images": True},
        {"infotext": "Seed: 1"},
        {"override_settings": {"sd_model_checkpoint": "other"}},
        {"override_settings": "x"},
    ],
    ids=lambda given: next(iter(given)),
)
async def test_an_option_that_would_lose_or_replace_the_picture_is_refused_before_anything_is_sent(
    given: dict[str, Any],
) -> None:
    with pytest.raises(ProviderError, match=next(iter(given))) as error:
        await sent(replace(ORDER, request=replace(ORDER.request, options=given)))

    assert error.value.reason == "UNSUPPORTED"


@pytest.mark.parametrize(
    ("named", "drawn", "fits"),
    [
        ("xl.safetensors [31e35c80fc]", {"sd_model_name": "xl", "sd_model_hash": "31e35c80fc"}, True),
        ("sub/xl.safetensors", {"sd_model_name": "xl"}, True),
        ("sd_xl_base_1.0", {"sd_model_name": "sd_xl_base_1.0"}, True),
        ("31e35c80fc", {"sd_model_name": "xl", "sd_model_hash": "31e35c80fc"}, True),
        ("xl", {"sd_model_name": "XL.safetensors [31e35c80fc]"}, True),
        ("xl", {}, True),
        ("xl", {"sd_model_name": "v1-5-pruned"}, False),
        ("xl [aaaaaaaaaa]", {"sd_model_name": "v1-5-pruned", "sd_model_hash": "bbbbbbbbbb"}, False),
    ],
)
async def test_a_picture_of_another_checkpoint_is_not_passed_off_as_the_one_that_was_asked_for(
    named: str, drawn: dict[str, str], fits: bool
) -> None:
    server = Server(txt2img=DONE | {"info": json.dumps(drawn)})
    provider = A1111Provider(entry(models=[{"name": named}]), api_key="", transport=HandlerTransport(server.take))
    try:
        if fits:
            assert (await provider.submit(replace(ORDER, model=named))).images
        else:
            with pytest.raises(ProviderError, match="does not have the checkpoint"):
                await provider.submit(replace(ORDER, model=named))
    finally:
        await provider.close()


class Drawing(httpx.AsyncBaseTransport):
    """Draws until it is told to stop; what it says of its tasks and of whatever it draws is given."""

    def __init__(self, *, task: Any, progress: Any = 404) -> None:
        self.asked: list[str] = []
        self.done = asyncio.Event()
        self.looked_at_thrice = asyncio.Event()
        self._told = {"/internal/progress": task, "/sdapi/v1/progress": progress}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer at once, but for the drawing itself."""
        path = request.url.path
        self.asked.append(path)
        if self.asked.count("/internal/progress") == 3:
            self.looked_at_thrice.set()
        if path == "/sdapi/v1/txt2img":
            await self.done.wait()
            return _answer(DONE)
        return _answer(self._told.get(path, {}))


def _answer(told: Any) -> httpx.Response:
    if isinstance(told, int):
        return httpx.Response(told, stream=httpx.ByteStream(b""))
    return httpx.Response(200, stream=httpx.ByteStream(json.dumps(told).encode()))


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[Drawing], A1111Provider]]:
    """Opens the provider with a server, and looks at its progress all the time."""
    found: list[A1111Provider] = []

    def with_server(server: Drawing) -> A1111Provider:
        found.append(A1111Provider(entry(poll_interval_seconds=0.001), api_key="", transport=server))
        return found[-1]

    yield with_server
    for provider in found:
        await provider.close()


@pytest.mark.parametrize(
    ("task", "progress", "share"),
    [
        ({"active": True, "queued": False, "completed": False, "progress": 0.4, "eta": 9.0}, 404, 0.4),
        (404, {"progress": 0.25, "state": {"job_count": 1}, "current_image": None}, 0.25),
        ({"active": False, "queued": False, "completed": False, "progress": 0.9}, {"progress": 0.3}, 0.3),
    ],
    ids=["by task", "without pages", "tasks without names"],
)
async def test_the_progress_of_a_drawing_is_told_while_its_answer_is_waited_for(
    opened: Callable[[Drawing], A1111Provider], task: Any, progress: Any, share: float
) -> None:
    server = Drawing(task=task, progress=progress)
    told: list[float] = []

    def report(seen: float) -> None:
        told.append(seen)
        server.done.set()

    async with asyncio.timeout(PATIENCE):
        await opened(server).submit(replace(ORDER, report=report))

    assert told == [share]


async def test_while_others_are_drawn_for_their_progress_is_not_told_as_ours(
    opened: Callable[[Drawing], A1111Provider],
) -> None:
    server = Drawing(task={"active": False, "queued": True, "completed": False}, progress={"progress": 0.8})
    told: list[float] = []
    drawing = asyncio.create_task(opened(server).submit(replace(ORDER, report=told.append)))
    async with asyncio.timeout(PATIENCE):
        await server.looked_at_thrice.wait()
        server.done.set()
        await drawing

    assert (told, "/sdapi/v1/progress" in server.asked) == ([], False)


@pytest.mark.parametrize(
    ("task", "outcome"),
    [
        ({"active": True, "completed": False, "progress": 0.0, "eta": None}, CancelOutcome.CONFIRMED),
        ({"active": False, "queued": True, "completed": False}, CancelOutcome.UNSUPPORTED),
        ({"active": False, "queued": False, "completed": True}, CancelOutcome.TOO_LATE),
        ({"active": True, "completed": False, "progress": 0.99, "eta": 0.1}, CancelOutcome.TOO_LATE),
        (404, CancelOutcome.UNSUPPORTED),
    ],
    ids=["drawn", "waits", "done", "nearly done", "no tasks"],
)
async def test_only_a_drawing_that_is_surely_ours_is_interrupted(
    opened: Callable[[Drawing], A1111Provider], task: Any, outcome: CancelOutcome
) -> None:
    server = Drawing(task=task)

    assert await opened(server).cancel(Operation(id="call_1")) is outcome
    assert ("/sdapi/v1/interrupt" in server.asked) is (outcome is CancelOutcome.CONFIRMED)


def test_a_key_is_a_name_and_a_password() -> None:
    assert entry().api_key({}) == ""
    assert entry(api_key_env="KEY").api_key({"KEY": "me:secret"}) == "me:secret"
    with pytest.raises(ConfigError, match="NAME:PASSWORD"):
        entry(api_key_env="KEY").api_key({"KEY": "secret"})


@pytest.mark.parametrize("settings", [{"min_side": 512, "max_side": 256}, {"side_multiple": 4096}, {"max_side": 9999}])
def test_settings_that_leave_no_size_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="side"):
        entry(settings=settings)


def test_a_picture_costs_nothing_unless_the_file_says_so() -> None:
    assert entry().price_of("xl") == 0
    assert entry(models=[{"name": "xl", "price_micros_per_image": 9}]).price_of("xl") == 9
