"""The provider kind `openai`: exactly the requests of its contract, and every answer classified."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from calotype.provider.v1 import provider_pb2
from pydantic import ValidationError

from services.generator.adapters.providers.entry_fields import ModelEntry, Price, TokenPrices
from services.generator.adapters.providers.fal.entry import FalEntry
from services.generator.adapters.providers.openai import errors
from services.generator.adapters.providers.openai.entry import Edits, OpenAIEntry, OpenAIField, OpenAISettings
from services.generator.adapters.providers.openai.provider import OpenAIProvider
from services.generator.adapters.providers.option_rules import OptionRule
from services.generator.domain.jobs import InputImage, MaskForm, Request
from services.generator.domain.provider_results import Acceptance, ImageSource, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

BASE = "https://api.example/v1"
KEY = "sk-secret"
ENTRY = OpenAIEntry(
    name="gpt",
    kind="openai",
    base_url=BASE,
    models=(ModelEntry(name="gpt-image-2.6-sunburst", price_micros_per_image=40_000),),
    timeout_seconds=90,
    allowed_options={"*": OptionRule(type="any")},
)
PNG, JPEG = b"\x89PNG\r\n\x1a\n...", b"\xff\xd8\xff..."
Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


def order(count: int = 1, inputs: tuple[bytes, ...] = (), **request: Any) -> ProviderRequest:
    """A call."""
    wanted = Request(**({"prompt": "a harbour"} | request))
    return ProviderRequest(
        call_id="call_1",
        idempotency_key="call_1",
        model="gpt-image-2.6-sunburst",
        count=count,
        request=wanted,
        inputs=inputs,
    )


async def ask(answer: Answer, wanted: ProviderRequest, entry: OpenAIEntry = ENTRY) -> tuple[Any, httpx.Request]:
    """What the adapter makes of an answer, and what it asked for."""
    asked: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer if isinstance(answer, httpx.Response) else answer(request)

    provider = OpenAIProvider(entry, api_key=KEY, transport=HandlerTransport(take))
    try:
        return await provider.submit(wanted), asked[0]
    finally:
        await provider.close()


async def refusal(answer: Answer) -> ProviderError:
    """The error that an answer means."""
    with pytest.raises(ProviderError) as error:
        await ask(answer, order())
    return error.value


def made(*images: dict[str, Any]) -> httpx.Response:
    """A good answer."""
    return httpx.Response(200, json={"created": 1, "data": list(images)})


async def test_images_are_asked_for_as_json_and_come_as_base64() -> None:
    generated, asked = await ask(
        made({"b64_json": "AAAA", "revised_prompt": "a calm harbour"}, {"b64_json": "BBBB"}),
        order(2, size="1024x1024", quality="high", output_format="webp", options={"background": "opaque"}),
    )

    assert (asked.method, str(asked.url)) == ("POST", f"{BASE}/images/generations")
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert json.loads(asked.content) == {
        "model": "gpt-image-2.6-sunburst",
        "prompt": "a harbour",
        "n": 2,
        "size": "1024x1024",
        "quality": "high",
        "output_format": "webp",
        "background": "opaque",
    }
    assert generated.images == (
        ImageSource(base64="AAAA", revised_prompt="a calm harbour"),
        ImageSource(base64="BBBB"),
    )
    assert generated.cost_micros == 80_000


async def test_models_that_answer_with_addresses_are_told_what_is_wanted() -> None:
    entry = ENTRY.model_copy(
        update={"settings": OpenAISettings(response_format="url"), "models": (), "default_model": order().model}
    )
    generated, asked = await ask(made({"url": "https://files.example/1.png"}), order(), entry)

    assert json.loads(asked.content)["response_format"] == "url"
    assert generated.images == (ImageSource(url="https://files.example/1.png"),)
    assert generated.cost_micros is None


async def test_an_edit_is_a_form_with_its_pictures_in_order_and_the_mask() -> None:
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in (0, 1, -1))
    wanted = replace(order(inputs=(PNG, JPEG, PNG + b"mask")), request=Request(prompt="a harbour", inputs=places))
    _, asked = await ask(made({"b64_json": "AAAA"}), wanted)
    form = asked.content

    assert str(asked.url) == f"{BASE}/images/edits"
    assert asked.headers["Content-Type"].startswith("multipart/form-data")
    assert form.count(b'name="image[]"') == 2
    assert form.index(PNG) < form.index(JPEG) < form.index(PNG + b"mask")
    assert b'name="mask"; filename="mask.png"' in form
    assert b'name="image[]"; filename="image-1.jpeg"\r\nContent-Type: image/jpeg' in form


async def test_a_form_is_in_the_vendors_spelling() -> None:
    places = (InputImage(index=0, url=None, content_type="image/png"),)
    given = {"partial": False, "background": None, "extra": ["a", "b"], "output_compression": 80}
    wanted = replace(order(inputs=(PNG,)), request=Request(prompt="a harbour", inputs=places, options=given))
    _, asked = await ask(made({"b64_json": "AAAA"}), wanted)
    form = asked.content.decode("latin-1")

    assert 'name="partial"\r\n\r\nfalse' in form
    assert 'name="output_compression"\r\n\r\n80' in form
    assert form.count('name="extra[]"') == 2
    assert "background" not in form


@pytest.mark.parametrize("option", ["stream", "partial_images"])
async def test_an_answer_in_parts_is_not_asked_for(option: str) -> None:
    with pytest.raises(ProviderError) as refused:
        await ask(made(), order(options={option: True}))

    assert (refused.value.reason, refused.value.acceptance) == ("UNSUPPORTED", Acceptance.NOT_ACCEPTED)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "moderation_blocked", ("PERMANENT", "CONTENT_POLICY", Acceptance.ACCEPTED)),
        (400, "content_policy_violation", ("PERMANENT", "CONTENT_POLICY", Acceptance.ACCEPTED)),
        *(
            (400, code, ("PERMANENT", "CONTENT_POLICY", Acceptance.ACCEPTED))
            for code in ("content_filter", "contentFilter", "ResponsibleAIPolicyViolation", "content_moderation_error")
        ),
        *(
            (403, code, ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED))
            for code in ("insufficient_user_quota", "insufficient_balance", "personal-team-blocked:spending-limit")
        ),
        (400, "not_enough_credits", ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED)),
        (402, "", ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED)),
        (400, "invalid_size", ("PERMANENT", "INVALID_INPUT", Acceptance.NOT_ACCEPTED)),
        (401, "invalid_api_key", ("AUTH_ERROR", "PROVIDER_AUTH", Acceptance.NOT_ACCEPTED)),
        (403, "model_not_allowed", ("AUTH_ERROR", "PROVIDER_AUTH", Acceptance.NOT_ACCEPTED)),
        (403, "unsupported_country_region_territory", ("PERMANENT", "PROVIDER_REJECTED", Acceptance.NOT_ACCEPTED)),
        (404, "model_not_found", ("PERMANENT", "PROVIDER_REJECTED", Acceptance.NOT_ACCEPTED)),
        (408, "", ("TIMEOUT", "PROVIDER_TIMEOUT", Acceptance.UNKNOWN)),
        (409, "conflict", ("UNKNOWN", "UNCLASSIFIED", Acceptance.UNKNOWN)),
        (429, "rate_limit_exceeded", ("RATE_LIMIT", "PROVIDER_RATE_LIMIT", Acceptance.NOT_ACCEPTED)),
        (429, "project_spend_limit_exceeded", ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED)),
        (429, "organization_spend_limit_exceeded", ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED)),
        (429, "organization_usage_limit_exceeded", ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED)),
        (429, "insufficient_quota", ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED)),
        (500, "server_error", ("TEMPORARY", "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN)),
        (503, "", ("TEMPORARY", "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN)),
        (504, "", ("TIMEOUT", "PROVIDER_TIMEOUT", Acceptance.UNKNOWN)),
        (418, "teapot", ("UNKNOWN", "UNCLASSIFIED", Acceptance.UNKNOWN)),
    ],
)
async def test_an_answer_means_one_error(status: int, code: str, expected: tuple[str, str, Acceptance]) -> None:
    body = {"error": {"message": f"No, {KEY} cannot.", "type": "t", "param": None, "code": code or None}}
    error = await refusal(httpx.Response(status, json=body, headers={"x-request-id": "req_1"}))

    assert (error.code, error.reason, error.acceptance) == expected
    assert (error.vendor.http_status, error.vendor.request_id) == (status, "req_1")
    assert error.vendor.code == (code or "t")
    assert KEY not in error.vendor.message + error.message


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        # LiteLLM: the status as a code, the policy in words, and in what the vendor behind it said.
        (
            400,
            {"error": {"message": "ContentPolicyViolationError: the prompt was filtered", "type": None, "code": "400"}},
            "CONTENT_POLICY",
        ),
        (
            400,
            {
                "error": {
                    "message": "no",
                    "code": "400",
                    "provider_specific_fields": {"innererror": {"code": "ResponsibleAIPolicyViolation"}},
                }
            },
            "CONTENT_POLICY",
        ),
        (400, {"code": "bad", "error": "Generated image rejected by content moderation."}, "CONTENT_POLICY"),
        (403, {"code": "no", "error": "Your team has used all available credits."}, "QUOTA_EXHAUSTED"),
        (429, {"error": "Your team has either used all available credits or reached its limit."}, "QUOTA_EXHAUSTED"),
        (403, {"code": "no", "error": "This key may not do that."}, "PROVIDER_AUTH"),
        # A word that is part of a setting's name.
        (400, {"error": {"message": "moderation_level must be one of low, auto"}}, "INVALID_INPUT"),
        (200, {"data": [], "error": "size 4096x4096 is not supported by this worker"}, "UNCLASSIFIED"),
        (200, {"data": [], "error": "rejected by our safety system"}, "CONTENT_POLICY"),
        (200, {"data": [], "error": {"code": "content_filter", "message": "no"}}, "CONTENT_POLICY"),
        (200, {"data": [{"url": "", "respect_moderation": False}]}, "CONTENT_POLICY"),
    ],
)
async def test_servers_that_speak_this_api_have_words_of_their_own(status: int, body: Any, reason: str) -> None:
    error = await refusal(httpx.Response(status, json=body))

    assert error.reason == reason
    assert not error.retryable
    # What was said is found with the attempt, also inside a success.
    assert error.vendor.message == httpx.Response(200, json=body).text


def test_every_rule_is_tried_here() -> None:
    tried = {str(rule.vendor_code or rule.status) for rule in errors.RULES}
    mark = test_an_answer_means_one_error.pytestmark[0]  # type: ignore[attr-defined]
    named = {str(part) for case in mark.args[1] for part in case[:2]}

    assert tried - named <= {"billing_hard_limit_reached", "credit_balance_exhausted", "413", "422"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, None),
        ({"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({"retry-after": "2", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 2.0),
    ],
)
async def test_the_time_that_is_named_is_kept(headers: dict[str, str], seconds: float | None) -> None:
    assert (await refusal(httpx.Response(429, json={}, headers=headers))).retry_after_seconds == seconds


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, content=b"<html>"), made(), made({"b64_json": ""}), httpx.Response(200, json=[])]
)
async def test_a_success_without_images_is_never_taken_for_nothing_bought(answer: httpx.Response) -> None:
    error = await refusal(answer)

    assert (error.code, error.reason, error.retryable) == ("UNKNOWN", "UNCLASSIFIED", False)
    assert error.acceptance is not Acceptance.NOT_ACCEPTED


@pytest.mark.parametrize(
    ("failure", "acceptance"),
    [
        (httpx.ConnectError("refused"), Acceptance.NOT_ACCEPTED),
        (httpx.ReadTimeout("late"), Acceptance.UNKNOWN),
        (httpx.RemoteProtocolError("cut"), Acceptance.UNKNOWN),
    ],
)
async def test_only_a_connection_that_was_never_made_is_certain(
    failure: httpx.RequestError, acceptance: Acceptance
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise failure

    assert (await refusal(fail)).acceptance is acceptance


async def capabilities(*models: str, **settings: Any) -> provider_pb2.Capabilities:
    """What an entry offers."""
    listed = tuple(ModelEntry(name=name) for name in models)
    entry = OpenAIEntry(name="gpt", kind="openai", models=listed, settings=OpenAISettings(**settings))
    provider = OpenAIProvider(entry, api_key=KEY)
    await provider.close()
    return provider.describe(is_default=False).capabilities


async def test_what_it_can_do_is_told() -> None:
    provider = OpenAIProvider(ENTRY, api_key=KEY)
    told = provider.describe(is_default=True)
    await provider.close()

    assert (told.kind, told.default_model) == ("openai", "gpt-image-2.6-sunburst")
    assert told.models[0].price_micros_per_image == 40_000
    told_of = told.capabilities
    assert [told_of.seed, told_of.resumable, told_of.idempotent] == [False, False, False]
    assert (told_of.max_images_per_call, told_of.mask, provider.mask_form("m")) == (10, True, MaskForm.TWO_WAY)


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("/files/1.png", "https://api.example/files/1.png"),
        ("1.png?a=b", "https://api.example/v1/images/1.png?a=b"),
        ("//cdn.example/1.png", "https://cdn.example/1.png"),
        ("https://cdn.example/1.png", "https://cdn.example/1.png"),
        ("http://[::1", "http://[::1"),
    ],
)
async def test_an_address_is_meant_from_where_the_answer_came(named: str, meant: str) -> None:
    made, _ = await ask(httpx.Response(200, json={"data": [{"url": named}]}), order())

    assert made.images == (ImageSource(url=meant),)


async def test_any_success_is_one() -> None:
    made, _ = await ask(httpx.Response(201, json={"data": [{"b64_json": "aW1hZ2U="}]}), order())

    assert made.images == (ImageSource(base64="aW1hZ2U="),)


@pytest.mark.parametrize("body", [PNG, b"event: x\ndata: {}\n\n", b'{"pictures": ["aW1hZ2U="]}', b'{"data": []}'])
async def test_all_of_a_success_that_cannot_be_read_goes_along_with_its_error(body: bytes) -> None:
    error = await refusal(httpx.Response(200, content=body))

    assert error.vendor.body == body
    assert (await refusal(httpx.Response(500, content=body))).vendor.body == b""


async def test_the_key_is_for_no_address_of_a_result() -> None:
    provider = OpenAIProvider(ENTRY, api_key=KEY)
    assert provider.credential_for(f"{BASE}/files/1.png") == {}
    await provider.close()


@pytest.mark.parametrize(
    "model", ["gpt-image-2", "gpt-image-2-2026-04-21", "gpt-image-2.5-flare", "gpt-image-2.6-sunburst"]
)
async def test_newer_models_take_any_size_within_their_bounds(model: str) -> None:
    able = await capabilities(model)

    assert (list(able.sizes), able.min_side, able.max_side, able.side_multiple) == ([], 480, 3840, 16)
    assert (able.max_ratio, able.max_input_images, able.output_compression) == (3, 16, True)


@pytest.mark.parametrize(
    ("model", "best", "backgrounds", "fidelities"),
    [
        ("gpt-image-2.6-flare", "max", ["transparent", "opaque", "auto"], []),
        ("gpt-image-2", "high", ["opaque", "auto"], []),
        ("gpt-image-1.5", "high", ["transparent", "opaque", "auto"], ["low", "high"]),
        ("gpt-image-1-mini", "high", ["transparent", "opaque", "auto"], []),
        ("flux-by-somebody", "high", [], []),
    ],
)
async def test_a_model_is_offered_with_what_its_reference_says(
    model: str, best: str, backgrounds: list[str], fidelities: list[str]
) -> None:
    able = await capabilities(model)

    assert list(able.qualities)[-2] == best
    assert (list(able.backgrounds), list(able.input_fidelities)) == (backgrounds, fidelities)


async def test_several_models_offer_what_all_of_them_take() -> None:
    able = await capabilities("gpt-image-2.6-flare", "gpt-image-2", "gpt-image-1.5")

    assert list(able.sizes) == ["1024x1024", "1536x1024", "1024x1536"]
    assert (able.max_side, able.max_ratio) == (0, 0)
    assert (list(able.qualities), list(able.backgrounds)) == (["low", "medium", "high", "auto"], ["opaque", "auto"])


async def test_what_nobody_knows_of_a_server_its_file_says() -> None:
    able = await capabilities(
        "sd", min_side=64, max_side=2048, side_multiple=8, max_ratio=2.5, qualities=(), backgrounds=("transparent",)
    )

    assert (list(able.sizes), able.min_side, able.max_side, able.side_multiple) == ([], 64, 2048, 8)
    assert (able.max_ratio, list(able.qualities), list(able.backgrounds)) == (2.5, [], ["transparent"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inputs": {"n": "n"}}, "must name the field prompt"),
        ({"inputs": {"prompt": "prompt", "n": "n", "width": "width"}}, "width and height together"),
        ({"inputs": {"prompt": "prompt"}}, "needs inputs.n"),
        ({"aspect_ratios": ("1:1",)}, "need each other"),
        ({"sizes": ("1024x1024",), "max_side": 2048}, "sizes excludes min_side"),
        ({"max_ratio": 3}, "max_side is required"),
        ({"edits": {"single": True}}, "max_input_images: 1"),
        ({"edits": {"body": "json", "item": {"url": "image"}}}, "item must contain"),
        ({"quality_fields": {"low": {"q": 1}}}, "name exactly the qualities"),
        ({"max_input_images": 17}, "less than or equal to 16"),
        ({"path": "../admin"}, "pattern"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        OpenAIEntry.model_validate({"name": "x", "kind": "openai", "default_model": "m", "settings": settings})


NAMED = OpenAISettings(
    inputs={"prompt": "prompt", "n": "n", "width": "width", "height": "height", "seed": "seed"},
    min_side=64,
    max_side=2048,
    response_format="base64",
    max_input_images=4,
    edits=Edits(
        body="json", path="images", field="input_references", item={"type": "image", "image": {"url": "{image}"}}
    ),
)


async def test_fields_go_by_the_names_of_the_entry() -> None:
    entry = ENTRY.model_copy(update={"settings": NAMED})
    wanted = replace(order(size="1024x768", quality="high"), seed=7)
    _, asked = await ask(made({"b64_json": "AAAA"}), wanted, entry)

    assert json.loads(asked.content) == {
        "model": "gpt-image-2.6-sunburst",
        "prompt": "a harbour",
        "n": 1,
        "seed": 7,
        "width": 1024,
        "height": 768,
        "response_format": "base64",
    }


async def test_a_quality_may_be_several_fields() -> None:
    both = {"draft": {"quality": "low", "resolution": "1k"}, "fine": {"quality": "medium", "resolution": "2k"}}
    inputs: Mapping[OpenAIField, str] = {"prompt": "prompt", "n": "n"}
    settings = OpenAISettings(inputs=inputs, qualities=("draft", "fine"), quality_fields=both)
    _, asked = await ask(
        made({"b64_json": "AAAA"}), order(quality="fine"), ENTRY.model_copy(update={"settings": settings})
    )
    able = await capabilities("grok", inputs=inputs, qualities=("draft", "fine"), quality_fields=both)

    assert list(able.qualities) == ["draft", "fine"]
    assert json.loads(asked.content) == {
        "model": "gpt-image-2.6-sunburst",
        "prompt": "a harbour",
        "n": 1,
        "quality": "medium",
        "resolution": "2k",
    }


async def test_images_go_in_json_where_the_entry_says_so() -> None:
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in (0, 1, -1))
    wanted = replace(order(inputs=(PNG, JPEG, PNG)), request=Request(prompt="a harbour", inputs=places))
    _, asked = await ask(made({"b64_json": "AAAA"}), wanted, ENTRY.model_copy(update={"settings": NAMED}))
    sent = json.loads(asked.content)
    png, jpeg = (base64.b64encode(one).decode() for one in (PNG, JPEG))

    assert str(asked.url) == f"{BASE}/images"
    assert sent["input_references"] == [
        {"type": "image", "image": {"url": f"data:image/png;base64,{png}"}},
        {"type": "image", "image": {"url": f"data:image/jpeg;base64,{jpeg}"}},
    ]
    assert sent["mask"] == {"type": "image", "image": {"url": f"data:image/png;base64,{png}"}}


async def test_one_image_alone_is_no_list() -> None:
    edits = Edits(body="json", path="images/generations", field="image_url", item="{image}", single=True, mask=None)
    entry = ENTRY.model_copy(update={"settings": OpenAISettings(max_input_images=1, edits=edits)})
    place = InputImage(index=0, url=None, content_type="image/png")
    wanted = replace(order(inputs=(PNG,)), request=Request(prompt="a harbour", inputs=(place,)))
    _, asked = await ask(made({"b64_json": "AAAA"}), wanted, entry)

    assert json.loads(asked.content)["image_url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(("body", "moderation", "sent"), [("json", "low", "low"), ("multipart", "auto", None)])
async def test_a_moderation_goes_where_the_vendor_has_a_field_for_it(
    body: Any, moderation: str, sent: str | None
) -> None:
    entry = ENTRY.model_copy(update={"settings": OpenAISettings(edits=Edits(body=body))})
    place = InputImage(index=0, url=None, content_type="image/png")
    request = Request(prompt="a harbour", inputs=(place,), moderation=moderation)
    _, asked = await ask(made({"b64_json": "AAAA"}), replace(order(inputs=(PNG,)), request=request), entry)

    assert (b"moderation" in asked.content) is (sent is not None)


async def test_a_moderation_that_a_form_would_lose_is_refused_before_anything_is_sent() -> None:
    place = InputImage(index=0, url=None, content_type="image/png")
    request = Request(prompt="a harbour", inputs=(place,), moderation="low")
    with pytest.raises(ProviderError) as refused:
        await ask(made(), replace(order(inputs=(PNG,)), request=request))

    assert (refused.value.reason, refused.value.acceptance) == ("UNSUPPORTED", Acceptance.NOT_ACCEPTED)


TOKENS = TokenPrices(text_input=5_000_000, image_input=8_000_000, image_output=30_000_000)
PRICED = ModelEntry(
    name="gpt-image-2.6-sunburst",
    price_micros_per_image=40_000,
    prices=(
        Price(quality="low", size="1024x1024", micros_per_image=6_000),
        Price(quality="low", micros_per_image=9_000),
        Price(quality="max", micros_per_image=211_000),
    ),
)
BY_TOKENS = PRICED.model_copy(update={"token_prices": TOKENS})
USAGE = {
    "input_tokens": 150,
    "input_tokens_details": {"text_tokens": 50, "image_tokens": 100},
    "output_tokens": 1_001,
    "total_tokens": 1_151,
}


@pytest.mark.parametrize(
    ("model", "told", "wanted", "micros"),
    [
        (PRICED, {}, {"quality": "low", "size": "1024x1024"}, 6_000),
        (PRICED, {}, {"quality": "low", "size": "1536x1024"}, 9_000),
        (PRICED, {}, {"quality": "max"}, 211_000),
        (PRICED, {}, {"quality": "high"}, 40_000),
        # What the vendor chose goes before what was left to it.
        (PRICED, {"quality": "low", "size": "1024x1024"}, {"quality": "auto"}, 6_000),
        (PRICED, {"usage": USAGE}, {"quality": "max"}, 211_000),
        # 50 x 5 + 100 x 8 + 1,001 x 30
        (BY_TOKENS, {"usage": USAGE}, {"quality": "max"}, 31_080),
        (BY_TOKENS, {"usage": {"input_tokens": 50, "output_tokens": 100}}, {}, 3_250),
        (BY_TOKENS, {"usage": {"output_tokens": -1}}, {"quality": "low"}, 9_000),
        (BY_TOKENS, {"usage": {"output_tokens": True, "input_tokens": 1}}, {"quality": "low"}, 9_000),
        (BY_TOKENS, {"usage": "many"}, {"quality": "low"}, 9_000),
        # Words have a price of their own: without one, tokens do not tell the cost.
        (BY_TOKENS, {"usage": USAGE | {"output_tokens_details": {"text_tokens": 1}}}, {"quality": "low"}, 9_000),
        # What the server says that it took goes before all.
        (BY_TOKENS, {"usage": USAGE | {"cost_in_usd_ticks": 400_000_001}}, {}, 40_001),
        (BY_TOKENS, {"usage": USAGE | {"cost": 0.0389}}, {}, 38_900),
        (PRICED, {"usage": {"cost": float("1e300")}}, {"quality": "low"}, 9_000),
    ],
)
async def test_a_call_costs_what_is_told_of_it(
    model: ModelEntry, told: dict[str, Any], wanted: dict[str, Any], micros: int
) -> None:
    answer = httpx.Response(200, json={"created": 1, "data": [{"b64_json": "AAAA"}]} | told)
    generated, _ = await ask(answer, order(**wanted), ENTRY.model_copy(update={"models": (model,)}))

    assert generated.cost_micros == micros


async def test_a_relay_tells_the_cost_in_a_header() -> None:
    answer = made({"b64_json": "AAAA"})
    answer.headers["x-litellm-response-cost"] = "0.0421"

    assert (await ask(answer, order()))[0].cost_micros == 42_100


def test_what_is_reckoned_with_is_the_dearest_price_of_the_file() -> None:
    entry = ENTRY.model_copy(update={"models": (PRICED,)})

    assert entry.price_of("gpt-image-2.6-sunburst") == 211_000
    assert entry.price_of("another") is None


def test_a_kind_that_cannot_tell_prices_apart_takes_no_table() -> None:
    with pytest.raises(ValidationError, match="one price per model"):
        FalEntry(name="x", kind="fal", models=(PRICED,))
