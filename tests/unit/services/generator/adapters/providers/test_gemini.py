"""The provider kind `gemini`: what each model is offered with, and what a call costs."""

import json
from typing import Any

import httpx
import pytest
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers.entry_fields import ModelEntry, Price, TokenPrices
from services.generator.adapters.providers.gemini.entry import GeminiEntry, GeminiSettings
from services.generator.adapters.providers.gemini.provider import GeminiProvider
from services.generator.adapters.providers.option_rules import OptionRule
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

TOKENS = TokenPrices(text_input=500_000, image_input=500_000, image_output=60_000_000, text_output=3_000_000)
MODEL = ModelEntry(
    name="gemini-nano-banana-2.1",
    price_micros_per_image=70_000,
    prices=(Price(quality="4K", micros_per_image=150_000),),
)
PRICED = MODEL.model_copy(update={"token_prices": TOKENS})


async def capabilities(*models: str, **settings: Any) -> provider_pb2.Capabilities:
    """What an entry offers."""
    listed = tuple(ModelEntry(name=name) for name in models)
    entry = GeminiEntry(name="gemini", kind="gemini", models=listed, settings=GeminiSettings(**settings))
    provider = GeminiProvider(entry, api_key="sk-secret")
    await provider.close()
    return provider.describe(is_default=False).capabilities


async def cost(model: ModelEntry, usage: Any, asked: list[Any] | None = None, **request: Any) -> int | None:
    """What a call costs by an answer with such a usage."""
    part = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    told = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}], "usageMetadata": usage}
    entry = GeminiEntry(name="gemini", kind="gemini", models=(model,), allowed_options={"*": OptionRule(type="any")})

    def take(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        return httpx.Response(200, json=told)

    wire = HandlerTransport(take)
    provider = GeminiProvider(entry, api_key="sk-secret", transport=wire)
    wanted = Request(**({"prompt": "a harbour"} | request))
    try:
        order = ProviderRequest(call_id="c", idempotency_key="c", model=model.name, count=1, request=wanted)
        return (await provider.submit(order)).cost_micros
    finally:
        await provider.close()


async def test_the_last_image_of_an_answer_is_the_finished_one_and_the_others_are_spare() -> None:
    parts = [{"inlineData": {"mimeType": "image/png", "data": data}} for data in ("MA==", "MQ==")]
    answer = httpx.Response(200, json={"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})
    entry = GeminiEntry(name="gemini", kind="gemini", models=(MODEL,))
    provider = GeminiProvider(entry, api_key="sk-secret", transport=HandlerTransport(lambda request: answer))
    order = ProviderRequest(call_id="c", idempotency_key="c", model=MODEL.name, count=1, request=Request(prompt="x"))
    made = await provider.submit(order)
    await provider.close()

    assert [image.base64 for image in made.images] == ["MQ==", "MA=="]


@pytest.mark.parametrize(
    ("model", "ratios", "qualities", "images"),
    [
        ("gemini-2.5-flash-image", 10, [], 8),
        ("gemini-3-pro-image", 10, ["1K", "2K", "4K"], 14),
        ("gemini-3-pro-image-preview", 10, ["1K", "2K", "4K"], 14),
        ("gemini-3.1-flash-image", 14, ["512", "1K", "2K", "4K"], 14),
        ("gemini-nano-banana-2.1", 14, ["1K", "2K", "4K"], 14),
        ("gemini-3.1-flash-lite-image", 10, [], 8),
    ],
)
async def test_a_model_is_offered_with_what_its_reference_says(
    model: str, ratios: int, qualities: list[str], images: int
) -> None:
    able = await capabilities(model)

    assert (len(able.aspect_ratios), list(able.qualities), able.max_input_images) == (ratios, qualities, images)


async def test_several_models_offer_what_all_of_them_take_and_the_file_has_the_last_word() -> None:
    both = ("gemini-nano-banana-2.1", "gemini-3-pro-image")
    able, said = await capabilities(*both), await capabilities(*both, aspect_ratios=("1:8",), max_input_images=0)

    assert (len(able.aspect_ratios), list(able.qualities)) == (10, ["1K", "2K", "4K"])
    assert (list(said.aspect_ratios), said.max_input_images) == (["1:8"], 0)


async def test_a_generation_config_of_options_is_merged_with_what_fields_become() -> None:
    asked: list[Any] = []
    wanted = {"generationConfig": {"temperature": 0.2, "imageConfig": {"imageSize": "2K", "aspectRatio": "1:1"}}}
    await cost(MODEL, None, asked, aspect_ratio="16:9", options=wanted)

    assert json.loads(asked[0].content)["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "temperature": 0.2,
        "imageConfig": {"imageSize": "2K", "aspectRatio": "16:9"},
    }


@pytest.mark.parametrize("options", [{"contents": []}, {"generationConfig": "hot"}])
async def test_what_would_be_lost_of_options_is_refused_before_anything_is_sent(options: dict[str, Any]) -> None:
    asked: list[Any] = []
    with pytest.raises(ProviderError) as refused:
        await cost(MODEL, None, asked, options=options)

    assert (refused.value.reason, asked) == ("UNSUPPORTED", [])


@pytest.mark.parametrize(
    ("model", "usage", "request_", "micros"),
    [
        (MODEL, None, {}, 70_000),
        (MODEL, None, {"quality": "4K"}, 150_000),
        # 10 words and 20 of images, 1,120 of an image, and thoughts of 100: 30 x 0.5 + 1,120 x 60 + 100 x 3
        (
            PRICED,
            {
                "promptTokenCount": 30,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 10},
                    {"modality": "IMAGE", "tokenCount": 20},
                ],
                "candidatesTokenCount": 1_120,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1_120}],
                "thoughtsTokenCount": 100,
            },
            {},
            67_515,
        ),
        (PRICED, {"promptTokenCount": 2, "candidatesTokenCount": 1_000}, {}, 60_001),
        (PRICED, {"candidatesTokenCount": 1_000}, {}, 70_000),
        (PRICED, {"promptTokenCount": "2", "candidatesTokenCount": 1_000}, {}, 70_000),
        (PRICED, [], {"quality": "4K"}, 150_000),
    ],
)
async def test_a_call_costs_what_its_tokens_cost(
    model: ModelEntry, usage: Any, request_: dict[str, Any], micros: int
) -> None:
    assert await cost(model, usage, **request_) == micros
