"""The kind `huggingface`: each inference provider behind the router in its own shape."""

import json
from typing import Any

import httpx
import pytest

from services.generator.adapters.providers.huggingface.entry import HuggingFaceEntry
from services.generator.adapters.providers.huggingface.provider import HuggingFaceProvider
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.domain.jobs import InputImage, Request
from services.generator.domain.provider_results import Acceptance, Generated, ImageSource, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

PNG = b"\x89PNG\r\n\x1a\n"
ROUTER = "https://router.huggingface.co"


def entry(provider: str, **told: Any) -> HuggingFaceEntry:
    """An entry, as the provider file says it."""
    settings = {"provider": provider} | told.pop("settings", {})
    one = {
        "name": "hf",
        "kind": "huggingface",
        "models": [{"name": "m"}],
        "allowed_options": "any",
        "settings": settings,
    }
    [read] = ProviderFile.model_validate({"providers": [one | told]}).providers
    assert isinstance(read, HuggingFaceEntry)
    return read


def order(model: str, inputs: tuple[bytes, ...] = (), **request: Any) -> ProviderRequest:
    """A call."""
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in range(len(inputs)))
    wanted = Request(**({"prompt": "a harbour", "inputs": places} | request))
    return ProviderRequest(
        call_id="c", idempotency_key="c", model=model, count=1, request=wanted, seed=wanted.seed, inputs=inputs
    )


async def ask(
    told: HuggingFaceEntry, wanted: ProviderRequest, answer: httpx.Response
) -> tuple[Generated, httpx.Request]:
    """What the adapter makes of an answer, and what it asked for."""
    asked: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer

    listed = told.model_copy(update={"default_model": wanted.model})
    provider = HuggingFaceProvider(listed, api_key="hf_of_the_test", transport=HandlerTransport(take))
    try:
        return await provider.submit(wanted), asked[0]
    finally:
        await provider.close()


FULL: dict[str, Any] = {"seed": 7, "size": "1024x768", "negative_prompt": "fog", "options": {"steps": 4}}
ADDRESS = ImageSource(url="https://a.test/0")
SHAPES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], ImageSource]] = {
    "fal-ai": (
        "fal-ai/flux/schnell",
        "/fal-ai/fal-ai/flux/schnell",
        {
            "prompt": "a harbour",
            "steps": 4,
            "seed": 7,
            "negative_prompt": "fog",
            "image_size": {"width": 1024, "height": 768},
        },
        {"images": [{"url": "https://a.test/0"}], "has_nsfw_concepts": [False]},
        ADDRESS,
    ),
    "replicate": (
        "black-forest-labs/flux-schnell",
        "/replicate/v1/models/black-forest-labs/flux-schnell/predictions",
        {
            "input": {
                "prompt": "a harbour",
                "steps": 4,
                "seed": 7,
                "negative_prompt": "fog",
                "width": 1024,
                "height": 768,
            }
        },
        {"status": "succeeded", "output": ["https://a.test/0"]},
        ADDRESS,
    ),
    "together": (
        "black-forest-labs/FLUX.1-schnell",
        "/together/v1/images/generations",
        {
            "prompt": "a harbour",
            "response_format": "base64",
            "model": "black-forest-labs/FLUX.1-schnell",
            "steps": 4,
            "seed": 7,
            "negative_prompt": "fog",
            "width": 1024,
            "height": 768,
        },
        {"data": [{"b64_json": "MA=="}]},
        ImageSource(base64="MA=="),
    ),
    "nscale": (
        "stabilityai/sdxl",
        "/nscale/v1/images/generations",
        {
            "prompt": "a harbour",
            "response_format": "b64_json",
            "model": "stabilityai/sdxl",
            "steps": 4,
            "seed": 7,
            "negative_prompt": "fog",
            "size": "1024x768",
        },
        {"data": [{"b64_json": "MA=="}]},
        ImageSource(base64="MA=="),
    ),
}


@pytest.mark.parametrize("provider", SHAPES)
async def test_each_provider_is_asked_in_its_own_shape(provider: str) -> None:
    model, path, body, answer, image = SHAPES[provider]
    made, asked = await ask(entry(provider), order(model, **FULL), httpx.Response(200, json=answer))

    assert str(asked.url) == f"{ROUTER}{path}"
    assert json.loads(asked.content) == body
    assert asked.headers["Authorization"] == "Bearer hf_of_the_test"
    assert made.images == (image,)


async def test_a_version_at_replicate_has_a_path_of_its_own_and_is_waited_for() -> None:
    told = httpx.Response(201, json={"status": "succeeded", "output": "https://a.test/0"})
    made, asked = await ask(entry("replicate"), order("owner/name:5599ed30"), told)

    assert asked.url.path == "/replicate/v1/predictions"
    assert json.loads(asked.content) == {"version": "5599ed30", "input": {"prompt": "a harbour"}}
    assert asked.headers["Prefer"] == "wait"
    assert made.images == (ADDRESS,)


async def test_a_deployment_is_asked_at_its_own_address() -> None:
    told = entry("endpoint", base_url="https://mine.endpoints.huggingface.cloud")
    made, asked = await ask(told, order("m"), httpx.Response(200, content=PNG))

    assert str(asked.url) == "https://mine.endpoints.huggingface.cloud"
    assert json.loads(asked.content) == {"inputs": "a harbour", "parameters": {}}
    assert made.images == (ImageSource(data=PNG),)


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        ("black-forest-labs/FLUX.1-kontext-dev", "image_url", "data:image/png;base64,iVBORw0KGgo="),
        ("black-forest-labs/FLUX.2-dev", "reference_images", ["data:image/png;base64,iVBORw0KGgo="]),
    ],
)
async def test_an_edit_at_together_names_its_image_by_the_model(model: str, field: str, value: Any) -> None:
    told = entry("together", settings={"max_input_images": 1})
    _, asked = await ask(told, order(model, (PNG,)), httpx.Response(200, json={"data": [{"b64_json": "MA=="}]}))

    assert json.loads(asked.content)[field] == value


async def test_bytes_are_an_image_whatever_their_label_says() -> None:
    told = httpx.Response(200, content=PNG, headers={"Content-Type": "application/json"})
    made, _ = await ask(entry("hf-inference"), order("owner/name"), told)

    assert made.images == (ImageSource(data=PNG),)


@pytest.mark.parametrize(
    ("provider", "model", "told", "reason", "acceptance"),
    [
        (
            "replicate",
            "a/b",
            {"status": "failed", "error": "NSFW content detected"},
            "CONTENT_POLICY",
            Acceptance.ACCEPTED,
        ),
        ("replicate", "a/b", {"status": "processing", "output": None}, "UNCLASSIFIED", Acceptance.UNKNOWN),
        (
            "fal-ai",
            "a/b",
            {"images": [{"url": "https://a.test/0"}], "has_nsfw_concepts": [True]},
            "CONTENT_POLICY",
            Acceptance.ACCEPTED,
        ),
        ("hf-inference", "a/b", {"error": "boom"}, "UNCLASSIFIED", Acceptance.UNKNOWN),
    ],
)
async def test_a_success_without_an_image_is_told_as_what_it_is(
    provider: str, model: str, told: dict[str, Any], reason: str, acceptance: Acceptance
) -> None:
    with pytest.raises(ProviderError) as error:
        await ask(entry(provider), order(model), httpx.Response(200, json=told))

    assert (error.value.reason, error.value.acceptance) == (reason, acceptance)
    assert error.value.vendor.message


@pytest.mark.parametrize("told", [{}, {"estimated_time": "soon"}, {"estimated_time": -3}, {"estimated_time": True}])
async def test_a_model_that_loads_for_nobody_knows_how_long_is_asked_again_all_the_same(told: dict[str, Any]) -> None:
    answer = httpx.Response(503, json={"error": "Model m is currently loading"} | told)
    with pytest.raises(ProviderError) as error:
        await ask(entry("hf-inference"), order("owner/name"), answer)

    assert (error.value.retryable, error.value.acceptance) == (True, Acceptance.NOT_ACCEPTED)
    assert error.value.retry_after_seconds is None


@pytest.mark.parametrize("provider", ["hf-inference", "fal-ai", "replicate"])
async def test_a_model_leads_nowhere_else(provider: str) -> None:
    with pytest.raises(ProviderError) as error:
        await ask(entry(provider), order("../../api/whoami"), httpx.Response(200))

    assert (error.value.reason, error.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)


@pytest.mark.parametrize(
    ("provider", "told", "message"),
    [
        ("fal-ai", {"settings": {"max_input_images": 1}}, "must be at most 0, the limit of fal-ai"),
        ("hf-inference", {"settings": {"max_input_images": 2}}, "must be at most 1, the limit of hf-inference"),
        ("endpoint", {}, "endpoint needs base_url"),
    ],
)
def test_an_entry_that_could_not_work_is_refused(provider: str, told: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entry(provider, **told)
