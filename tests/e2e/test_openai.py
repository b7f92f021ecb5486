"""The official OpenAI client, as it comes and with its default retries, against the whole stack."""

import base64
import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from cli.stack.state import StackState
from common.database_url import driver_url
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books, png
from tests.support.proxies.cutting_proxy import cutting_proxy
from tests.support.stacks.stack_clients import Client


@pytest.fixture
def guest(stack: StackState) -> Iterator[openai.OpenAI]:
    """The client."""
    with openai.OpenAI(base_url=f"{stack.http}/v1", api_key=stack.api_key) as opened:
        yield opened


def _jobs(client: Client, prompt: str) -> list[dict[str, Any]]:
    found = client.http.get("/v1/jobs", params={"page_size": 100}).json()["jobs"]
    return [job for job in found if prompt in job["request"]["prompt"]]


@pytest.fixture
def is_taken(stack: StackState) -> Iterator[Callable[[int], None]]:
    """Returns once job-service has written down, or joined to a job, so many requests more than before the test."""
    engine = create_engine(driver_url(stack.database_url), poolclass=NullPool)

    def count() -> int:
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM idempotency_keys")).scalar_one())

    before = count()

    def wait(number: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while count() < before + number:
            assert time.monotonic() < deadline, "the request was not taken"

    yield wait
    engine.dispose()


def test_a_picture_has_a_public_address_and_its_job_is_named(guest: openai.OpenAI, client: Client) -> None:
    raw = guest.images.with_raw_response.generate(
        prompt="a harbour for guests", model="procedural", size="256x256", n=2, user="u-1"
    )
    images = raw.parse()

    assert images.data is not None
    assert [httpx.get(str(one.url), trust_env=False).status_code for one in images.data] == [200, 200]
    job = client.get(raw.headers["x-calotype-job-id"])
    assert (job["status"], job["end_user"], job["request"]["n"]) == ("completed", "u-1", 2)


async def test_the_asynchronous_client_gets_the_picture_itself(stack: StackState) -> None:
    async with openai.AsyncOpenAI(base_url=f"{stack.http}/v1", api_key=stack.api_key) as guest:
        images = await guest.images.generate(
            prompt="a mill",
            model="procedural/procedural",
            size="128x96",
            response_format="b64_json",
            output_format="webp",
        )

    assert images.data is not None
    with Image.open(io.BytesIO(base64.b64decode(images.data[0].b64_json or ""))) as opened:
        assert (opened.size, opened.format) == ((128, 96), "WEBP")
    assert (images.size, images.output_format) == ("128x96", "webp")


def test_a_stream_ends_with_the_picture(guest: openai.OpenAI) -> None:
    with guest.images.generate(prompt="a stream", model="procedural", size="128x96", stream=True) as stream:
        events = list(stream)

    [event] = events
    assert event.type == "image_generation.completed"
    with Image.open(io.BytesIO(base64.b64decode(event.b64_json))) as opened:
        assert opened.size == (128, 96)
    assert event.usage.total_tokens == 0


def test_models_are_those_of_the_providers(guest: openai.OpenAI) -> None:
    names = [one.id for one in guest.models.list()]

    assert {"procedural", "procedural/procedural", "paid", "paid/test/model"} <= set(names)
    assert guest.models.retrieve("paid/test/model").owned_by == "replicate"
    with pytest.raises(openai.NotFoundError):
        guest.models.retrieve("paid/test/other")


@pytest.mark.parametrize("model", ["gpt-image-1", "procedural/none", "/none"])
def test_an_unknown_model_is_not_found(guest: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as refusal:
        guest.images.generate(prompt="nothing", model=model)

    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")


def test_an_edit_that_its_provider_cannot_do_is_a_bad_request(guest: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        guest.images.edit(prompt="with a hat", model="procedural", image=("a.png", png(), "image/png"))

    assert (refusal.value.code, refusal.value.param) == ("invalid_value", "image")


@pytest.mark.parametrize("count", [1, 2])
def test_an_edit_brings_pictures_and_mask_to_the_provider(
    guest: openai.OpenAI, client: Client, books: Books, count: int
) -> None:
    prompt = f"{count} with a hat"
    given = [(f"{number}.png", png(), "image/png") for number in range(count)]
    raw = guest.images.with_raw_response.edit(
        prompt=prompt,
        model="edits",
        image=given[0] if count == 1 else given,
        mask=("mask.png", png(), "image/png"),
        response_format="b64_json",
    )
    images = raw.parse()

    assert images.data is not None
    assert base64.b64decode(images.data[0].b64_json or "") == png()
    job = client.get(raw.headers["x-calotype-job-id"])
    assert (job["status"], job["provider"]) == ("completed", "edits")
    [sent] = [body for body in books.edits if prompt.encode() in body]
    assert (sent.count(b'name="image[]"'), sent.count(b'name="mask"')) == (count, 1)
    # The mask is sent in the form that the provider reads.
    assert sent.count(png()) == count


def test_how_a_picture_is_drawn_reaches_the_provider_that_takes_it(
    guest: openai.OpenAI, client: Client, books: Books
) -> None:
    prompt = "with a scarf, opaque"
    raw = guest.images.with_raw_response.edit(
        prompt=prompt,
        model="edits",
        image=("a.png", png(), "image/png"),
        background="opaque",
        input_fidelity="high",
        output_compression=80,
        output_format="webp",
    )

    request = client.get(raw.headers["x-calotype-job-id"])["request"]
    assert (request["background"], request["input_fidelity"], request["output_compression"]) == ("opaque", "high", 80)
    [sent] = [body for body in books.edits if prompt.encode() in body]
    for name, value in (("background", "opaque"), ("input_fidelity", "high"), ("output_compression", "80")):
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in sent


def test_an_alias_and_extensions_reach_the_provider(guest: openai.OpenAI, client: Client) -> None:
    extensions = {"seed": 7, "aspect_ratio": "16:9", "negative_prompt": "people", "provider_options": {}}
    raw = guest.images.with_raw_response.generate(
        prompt="a mill, wide", model="dall-e-3", quality="standard", style="vivid", extra_body=extensions
    )

    job = client.get(raw.headers["x-calotype-job-id"])
    assert (job["status"], job["provider"], job["model"]) == ("completed", "procedural", "procedural")
    assert (job["request"]["seed"], job["request"]["aspect_ratio"], job["request"]["negative_prompt"]) == (
        7,
        "16:9",
        "people",
    )
    assert job["request"]["quality"] is None
    [image] = job["artifacts"]
    assert image["seed"] == 7
    assert image["width"] > image["height"]
    assert guest.models.retrieve("dall-e-3").id == "dall-e-3"


def test_an_edit_as_json_brings_its_picture_to_the_provider(guest: openai.OpenAI, client: Client, books: Books) -> None:
    prompt = "with a hat, from JSON"
    image_url = "data:image/png;base64," + base64.b64encode(png()).decode()
    body = {"prompt": prompt, "model": "edits", "images": [{"image_url": image_url}]}
    images = guest.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse)

    assert images.data is not None
    assert str(images.data[0].url).startswith("http")
    [job] = _jobs(client, prompt)
    assert [image["size_bytes"] for image in job["request"]["input_images"]] == [len(png())]
    [sent] = [body for body in books.edits if prompt.encode() in body]
    assert sent.count(png()) == 1


def test_what_a_provider_would_drop_is_refused_with_those_that_take_it(guest: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="These do: edits") as refusal:
        guest.images.generate(prompt="nothing behind it", model="procedural", background="opaque")

    assert (refusal.value.code, refusal.value.param) == ("invalid_value", "background")


def test_an_edit_streams_too(guest: openai.OpenAI) -> None:
    source = ("a.png", png(), "image/png")
    with guest.images.edit(prompt="with a scarf", model="edits", image=source, stream=True) as stream:
        [event] = list(stream)

    assert event.type == "image_edit.completed"
    assert base64.b64decode(event.b64_json) == png()


def test_a_refused_prompt_is_told_once_and_bought_once(guest: openai.OpenAI, client: Client, books: Books) -> None:
    prompt = "refused for guests"
    with pytest.raises(openai.BadRequestError) as refusal:
        guest.images.generate(prompt=prompt, model="paid")

    assert refusal.value.code == "content_policy_violation"
    [job] = _jobs(client, prompt)
    assert refusal.value.response.headers["x-calotype-job-id"] == job["id"]
    assert books.count(prompt) == 1


@pytest.mark.parametrize("kind", ["generate", "stream"])
def test_a_connection_that_is_cut_three_times_makes_one_job_and_one_purchase(
    stack: StackState, client: Client, books: Books, is_taken: Callable[[int], None], kind: str
) -> None:
    prompt = f"cut off while {kind}"
    with ExitStack() as open_ones:
        proxy = open_ones.enter_context(cutting_proxy(stack.http, cuts=3, on_request=is_taken))
        guest = open_ones.enter_context(openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=stack.api_key))
        with pytest.raises(openai.APIConnectionError):
            guest.images.generate(prompt=prompt, model="paid", stream=kind == "stream")

        assert len(proxy.seen) == 3
        [job] = _jobs(client, prompt)
        assert client.follow(job["id"])["status"] == "completed"
    assert [one["id"] for one in _jobs(client, prompt)] == [job["id"]]
    assert books.count(prompt) == 1


def test_a_client_that_was_cut_off_gets_the_pictures_of_its_first_request(
    stack: StackState, client: Client, books: Books, is_taken: Callable[[int], None]
) -> None:
    prompt = "cut off twice"
    with ExitStack() as open_ones:
        proxy = open_ones.enter_context(cutting_proxy(stack.http, cuts=2, on_request=is_taken))
        guest = open_ones.enter_context(openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=stack.api_key))
        raw = guest.images.with_raw_response.generate(prompt=prompt, model="paid")

    [job] = _jobs(client, prompt)
    assert raw.headers["x-calotype-job-id"] == job["id"]
    assert books.count(prompt) == 1
