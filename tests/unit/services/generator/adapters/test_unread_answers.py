"""Answers of another form: what of them are images that were bought, and what only looks like some."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.domain.provider_results import ImageSource
from tests.support.generator.decoder import decoder
from tests.support.images.image_comparison import draw

DRAFT, ONE, TWO = draw("a draft"), draw("a red house"), draw("a blue boat")


def encoded(image: bytes) -> str:
    """In base64."""
    return base64.b64encode(image).decode()


def event(end: str = "\n", **told: Any) -> str:
    """One event of a stream."""
    return f"event: {told.get('type', 'message')}{end}data: {json.dumps(told)}{end}{end}"


PARTIAL = event(type="image_generation.partial_image", b64_json=encoded(DRAFT), partial_image_index=0)
FINISHED = event(type="image_generation.completed", b64_json=encoded(ONE))
GEMINIS = event(candidates=[{"content": {"parts": [{"text": "see"}, {"inlineData": {"data": encoded(ONE)}}]}}])


@pytest.fixture
async def reader() -> AsyncIterator[GuardedImageReader]:
    """The reader, with nobody to fetch from."""
    fetch = GuardedFetch()
    yield GuardedImageReader(fetch, decoder())
    await fetch.close()


@pytest.mark.parametrize(
    ("body", "images"),
    [
        (ONE, [ONE]),
        (ONE[:-8], [ONE[:-8]]),
        (encoded(ONE).encode(), [ONE]),
        (f'"{encoded(ONE)}"\n'.encode(), [ONE]),
        (f"data:image/png;base64,{encoded(ONE)}".encode(), [ONE]),
        ((PARTIAL + FINISHED).encode(), [ONE]),
        ((PARTIAL + FINISHED + "data: [DONE]\n\n").replace("\n", "\r\n").encode(), [ONE]),
        ((": ping\n\n" + GEMINIS).encode(), [ONE]),
        ((PARTIAL + FINISHED[:-900]).encode(), [DRAFT]),
        ((event(type="image_generation.completed", b64_json=encoded(TWO)) + FINISHED).encode(), [ONE]),
    ],
    ids=[
        "the image itself",
        "without its end",
        "base64",
        "base64 as JSON",
        "data address",
        "events",
        "events with other line ends",
        "events of another vendor",
        "events that are cut",
        "more events than images",
    ],
)
async def test_the_last_whole_image_is_found(reader: GuardedImageReader, body: bytes, images: list[bytes]) -> None:
    assert [one.data for one in await reader.images_in(body, limit=1)] == images


async def test_as_many_are_found_as_were_bought(reader: GuardedImageReader) -> None:
    body = PARTIAL + FINISHED + event(type="image_generation.completed", b64_json=encoded(TWO))

    assert [one.data for one in await reader.images_in(body.encode(), limit=4)] == [ONE, TWO]


async def test_an_event_may_name_an_address(reader: GuardedImageReader) -> None:
    body = event(type="image_generation.completed", data=[{"url": "https://cdn.example/1.png"}])

    assert await reader.images_in(body.encode(), limit=1) == [ImageSource(url="https://cdn.example/1.png")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[" * 100_000,
        b"data: " + b"[" * 100_000 + b"\n\n",
        ONE[: len(ONE) // 2],
        b"iVBORw0KGgo not an image",
        json.dumps({"images": [{"b64": encoded(ONE)}]}).encode(),
        (PARTIAL + event(type="error", message="refused")).encode(),
        (PARTIAL + event(error={"code": "moderation_blocked"})).encode(),
        event(type="image_generation.completed", b64_json=encoded(ONE)[:-900]).encode(),
    ],
    ids=[
        "empty",
        "text",
        "deep",
        "deep event",
        "half an image",
        "no base64",
        "JSON, which may repeat what the request brought",
        "refused",
        "refused in other words",
        "half an image in an event",
    ],
)
async def test_what_is_no_image_that_was_bought_is_none(reader: GuardedImageReader, body: bytes) -> None:
    assert list(await reader.images_in(body, limit=1)) == []


@pytest.mark.parametrize(
    ("body", "traces"),
    [
        (b'{"images": ["' + encoded(ONE).encode() + b'"]}', True),
        (b'{"images": ["\\/9j\\/4AAQSkZJRg"]}', True),
        (b'{"images": ["_9j_4AAQSkZJRg"]}', True),
        (b"--part\r\n\r\n" + ONE, True),
        (b'{"error": "UklGR is no word, and a/9j/ is no image"}', False),
        (b'{"data": [], "error": "refused"}', False),
    ],
)
def test_traces_of_images_are_seen_in_any_body(body: bytes, traces: bool) -> None:
    assert GuardedImageReader(GuardedFetch(), decoder()).may_hold_images(body) is traces
