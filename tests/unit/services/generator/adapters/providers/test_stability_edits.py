"""The endpoints of `stability`: each form has the endpoint's own fields, and what answers later is fetched."""

import asyncio
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.generator.adapters.providers.stability.endpoints import ENDPOINTS
from services.generator.adapters.providers.stability.entry import StabilityEntry
from services.generator.adapters.providers.stability.provider import MIN_POLL_SECONDS, StabilityProvider
from services.generator.domain.jobs import InputImage, Request
from services.generator.domain.provider_results import Acceptance, Generated, Operation, Pending, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport
from tests.support.providers.multipart_forms import form_of

KEY = "sk-secret"
PICTURE, OTHER, MASK = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\nmask"
MADE = {"image": "MA==", "finish_reason": "SUCCESS", "seed": 7}
COMMON = {"seed", "output_format"}
WORDS = COMMON | {"prompt", "negative_prompt"}
#: The fields of each endpoint, by the OpenAPI document of https://platform.stability.ai/docs/api-reference
FIELDS = {
    "generate/core": WORDS | {"aspect_ratio", "style_preset"},
    "generate/ultra": WORDS | {"aspect_ratio", "style_preset", "image", "strength"},
    "generate/sd3": WORDS | {"aspect_ratio", "style_preset", "image", "strength", "mode", "model", "cfg_scale"},
    "edit/erase": COMMON | {"image", "mask", "grow_mask"},
    "edit/inpaint": WORDS | {"image", "mask", "grow_mask", "style_preset"},
    "edit/outpaint": COMMON | {"image", "left", "right", "up", "down", "creativity", "prompt", "style_preset"},
    "edit/search-and-replace": WORDS | {"image", "search_prompt", "grow_mask", "style_preset"},
    "edit/search-and-recolor": WORDS | {"image", "select_prompt", "grow_mask", "style_preset"},
    "edit/remove-background": {"image", "output_format"},
    "edit/replace-background-and-relight": COMMON
    | {"subject_image", "background_reference", "background_prompt", "foreground_prompt", "negative_prompt"},
    "control/sketch": WORDS | {"image", "control_strength", "style_preset"},
    "control/structure": WORDS | {"image", "control_strength", "style_preset"},
    "control/style": WORDS | {"image", "aspect_ratio", "fidelity", "style_preset"},
    "control/style-transfer": WORDS | {"init_image", "style_image", "style_strength"},
    "upscale/fast": {"image", "output_format"},
    "upscale/conservative": WORDS | {"image", "creativity"},
    "upscale/creative": WORDS | {"image", "creativity", "style_preset"},
}


class Vendor:
    """Answers with one answer after the other, and keeps what was asked."""

    def __init__(self, *models: str, answers: list[httpx.Response] | None = None, **settings: Any) -> None:
        told = {"name": "stable", "kind": "stability", "settings": settings}
        priced = [{"name": name, "price_micros_per_image": 1000} for name in models]
        entry = StabilityEntry.model_validate(told | {"models": priced})
        self.asked: list[httpx.Request] = []
        self.provider = StabilityProvider(entry, api_key=KEY, transport=HandlerTransport(self._take))
        self._answers = answers or [httpx.Response(200, json=MADE | {"id": "g1"})]

    async def asks(
        self, model: str, *images: bytes, mask: bytes | None = None, seed: int | None = None, **request: Any
    ) -> Generated | Operation:
        """What a call comes to."""
        places = [*range(len(images)), *([-1] if mask else [])]
        inputs = tuple(InputImage(index=place, url=None, content_type="image/png") for place in places)
        wanted = Request(prompt="a harbour", inputs=inputs, **request)
        brought = (*images, *([mask] if mask else []))
        return await self.provider.submit(
            ProviderRequest(
                call_id="c", idempotency_key="c", model=model, count=1, request=wanted, seed=seed, inputs=brought
            )
        )

    @property
    def form(self) -> dict[str, Any]:
        """The last form: text by name, and a file as its name, type and content."""
        fields = form_of(self.asked[-1].headers["content-type"], self.asked[-1].content)
        return {
            one["name"]: one["value"] if "value" in one else (one["file"], one["type"], bytes.fromhex(one["content"]))
            for one in fields
        }

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def model_of(path: str) -> str:
    """The model's name of an endpoint."""
    return path.removeprefix("generate/")


def test_every_endpoint_is_held_against_the_description() -> None:
    assert set(ENDPOINTS) == set(FIELDS)


@pytest.mark.parametrize("path", FIELDS)
async def test_whatever_an_endpoint_is_offered_for_goes_into_a_field_that_it_has(path: str) -> None:
    vendor = Vendor(model_of(path))
    offers = vendor.provider.describe(is_default=False).capabilities
    made = await vendor.asks(
        model_of(path),
        *[PICTURE] * offers.max_input_images,
        mask=MASK if offers.mask else None,
        seed=7 if offers.seed else None,
        negative_prompt="fog" if offers.negative_prompt else None,
        output_format=offers.output_formats[0],
        aspect_ratio=offers.aspect_ratios[0] if offers.aspect_ratios and path != "generate/sd3" else None,
    )
    await vendor.provider.close()

    assert vendor.asked[0].url.path == f"/v2beta/stable-image/{path}"
    assert set(vendor.form) - FIELDS[path] == set()
    assert isinstance(made, Operation) == offers.resumable == ENDPOINTS[path].is_async
    assert set(offers.output_formats) <= {"png", "jpeg", "webp"}


async def test_a_picture_and_a_mask_are_files_of_the_form() -> None:
    vendor = Vendor("edit/inpaint")
    await vendor.asks("edit/inpaint", OTHER, mask=MASK, options={"grow_mask": 5})
    await vendor.provider.close()

    assert vendor.form == {
        "grow_mask": "5",
        "prompt": "a harbour",
        "image": ("image.jpeg", "image/jpeg", OTHER),
        "mask": ("mask.png", "image/png", MASK),
    }


async def test_sd3_and_ultra_change_a_picture_by_a_strength() -> None:
    vendor = Vendor("sd3/sd3.5-large", "ultra", strength=0.6)
    await vendor.asks("sd3/sd3.5-large", PICTURE)
    sd3 = vendor.form
    await vendor.asks("ultra", PICTURE, options={"strength": 0.25}, aspect_ratio="1:1")
    ultra = vendor.form
    await vendor.asks("ultra")
    await vendor.provider.close()
    image = ("image.png", "image/png", PICTURE)

    assert sd3 == {
        "strength": "0.6", "prompt": "a harbour", "model": "sd3.5-large", "mode": "image-to-image", "image": image,
    }  # fmt: skip
    assert ultra == {"strength": "0.25", "prompt": "a harbour", "aspect_ratio": "1:1", "image": image}
    assert vendor.form == {"prompt": "a harbour"}


async def test_two_pictures_go_into_the_fields_that_are_for_each() -> None:
    vendor = Vendor("control/style-transfer")
    await vendor.asks("control/style-transfer", PICTURE, OTHER)
    await vendor.provider.close()

    assert (vendor.form["init_image"][2], vendor.form["style_image"][2]) == (PICTURE, OTHER)


@pytest.mark.parametrize(
    ("model", "images", "request_", "reason"),
    [
        ("edit/inpaint", [], {}, "INVALID_INPUT"),
        ("control/style-transfer", [PICTURE], {}, "INVALID_INPUT"),
        ("core", [PICTURE], {}, "UNSUPPORTED"),
        ("upscale/fast", [PICTURE, PICTURE], {}, "UNSUPPORTED"),
        ("ultra", [PICTURE], {"mask": MASK}, "UNSUPPORTED"),
        ("sd3", [PICTURE], {"aspect_ratio": "1:1"}, "UNSUPPORTED"),
    ],
)
async def test_what_an_endpoint_would_lose_or_lack_is_refused_before_anything_is_sent(
    model: str, images: list[bytes], request_: dict[str, Any], reason: str
) -> None:
    vendor = Vendor(model)
    with pytest.raises(ProviderError) as refused:
        await vendor.asks(model, *images, **request_)
    await vendor.provider.close()

    assert (refused.value.reason, refused.value.acceptance) == (reason, Acceptance.NOT_ACCEPTED)
    assert vendor.asked == []


@pytest.mark.parametrize("model", ["upscale", "edit/../x", "edit/inpaint/x", "core/x", "generate/core/x", "a\nb"])
async def test_a_model_that_is_no_endpoint_is_in_no_address(model: str) -> None:
    vendor = Vendor("core")
    with pytest.raises(ProviderError) as refused:
        await vendor.asks(model)
    await vendor.provider.close()

    assert (refused.value.reason, refused.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)
    assert vendor.asked == []


CREATIVE = Operation(id="g1", state={"model": "upscale/creative"})


async def fetched(*answers: httpx.Response) -> tuple[Vendor, list[Generated | Pending]]:
    """Looks at a result, one for each answer."""
    vendor = Vendor("upscale/creative", answers=list(answers))
    try:
        return vendor, [await vendor.provider.poll(CREATIVE) for _ in answers]
    finally:
        await vendor.provider.close()


async def test_what_answers_later_is_followed_by_its_id_and_fetched_with_the_key() -> None:
    vendor = Vendor("upscale/creative", answers=[httpx.Response(200, json={"id": "g1"})])
    operation = await vendor.asks("upscale/creative", PICTURE)
    await vendor.provider.close()
    later, (working, made) = await fetched(
        httpx.Response(202, json={"id": "g1", "status": "in-progress"}), httpx.Response(200, json=MADE)
    )

    assert operation == CREATIVE
    assert working == Pending()
    assert isinstance(made, Generated)
    assert (made.images[0].base64, made.images[0].seed, made.cost_micros) == ("MA==", 7, 1000)
    assert [str(one.url) for one in later.asked] == ["https://api.stability.ai/v2beta/results/g1"] * 2
    assert later.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert later.asked[0].headers["Accept"] == "application/json"


async def test_a_result_may_have_its_image_under_another_name() -> None:
    _, [made] = await fetched(httpx.Response(200, json={"result": "MA==", "finish_reason": "SUCCESS", "seed": 1}))

    assert isinstance(made, Generated)


@pytest.mark.parametrize(
    ("answer", "reason", "acceptance", "retryable"),
    [
        (httpx.Response(404, json={"name": "not_found"}), "RESULT_LOST", Acceptance.ACCEPTED, False),
        (httpx.Response(500), "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN, True),
        (httpx.Response(429), "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN, True),
        (httpx.Response(401), "PROVIDER_AUTH", Acceptance.UNKNOWN, False),
        (httpx.Response(200, text="<html>"), "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN, True),
        (httpx.Response(200, json={}), "UNCLASSIFIED", Acceptance.ACCEPTED, False),
        (
            httpx.Response(200, json=MADE | {"finish_reason": "CONTENT_FILTERED"}),
            "CONTENT_POLICY",
            Acceptance.ACCEPTED,
            False,
        ),
    ],
    ids=range(7),
)
async def test_a_look_at_a_result_says_no_more_than_it_says(
    answer: httpx.Response, reason: str, acceptance: Acceptance, retryable: bool
) -> None:
    with pytest.raises(ProviderError) as failed:
        await fetched(answer)

    assert (failed.value.reason, failed.value.acceptance, failed.value.retryable) == (reason, acceptance, retryable)


def test_what_can_be_followed_is_asked_no_more_often_than_the_vendor_allows() -> None:
    later, at_once = Vendor("upscale/creative").provider, Vendor("core").provider

    assert (later.traits.resumable, later.poll_interval_seconds) == (True, MIN_POLL_SECONDS)
    assert (at_once.traits.resumable, at_once.poll_interval_seconds) == (False, 1)
    for one in (later, at_once):
        asyncio.run(one.close())


def test_what_can_be_followed_and_what_cannot_are_entries_of_their_own() -> None:
    with pytest.raises(ValidationError, match="upscale/creative can be resumed"):
        Vendor("core", "upscale/creative")


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"there is no model 'inpaint'; name core.*edit/inpaint"):
        Vendor("inpaint")
