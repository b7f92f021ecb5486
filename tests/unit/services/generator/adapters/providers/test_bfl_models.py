"""The models of `bfl`: each is sent its own fields and no other, and offered for what it takes."""

import base64
import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.generator.adapters.providers.bfl.provider import BFLProvider
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.domain.jobs import InputImage, Request
from services.generator.domain.provider_results import Acceptance, Generated, Operation, Pending, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

OWN = "https://api.bfl.ai/v1/get_result?id=t1"
PICTURE, MASK = b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\nmask"
ENCODED, ENCODED_MASK = (base64.b64encode(data).decode() for data in (PICTURE, MASK))
COMMON = {"seed", "output_format", "safety_tolerance"}
#: The fields of each model, by https://api.bfl.ai/openapi.json; of FLUX 3 by docs.bfl.ai/flux_3/flux3_image_generate
FIELDS = {
    "flux-2-pro": COMMON | {"prompt", "width", "height", "input_image", *(f"input_image_{n}" for n in range(2, 9))},
    "flux-2-klein-9b": COMMON | {"prompt", "width", "height", "input_image", *(f"input_image_{n}" for n in (2, 3, 4))},
    "flux-kontext-pro": COMMON | {"prompt", "aspect_ratio", "input_image", *(f"input_image_{n}" for n in (2, 3, 4))},
    "flux-pro-1.1": COMMON | {"prompt", "width", "height", "image_prompt"},
    "flux-dev": COMMON | {"prompt", "width", "height", "image_prompt"},
    "flux-pro-1.1-ultra": COMMON | {"prompt", "aspect_ratio", "image_prompt", "raw"},
    "flux-pro-1.0-fill": COMMON | {"prompt", "image", "mask"},
    "flux-pro-1.0-expand": COMMON | {"prompt", "image"},
    "flux-tools/erase-v1": COMMON | {"image", "mask", "dilate_pixels"},
    "flux-tools/outpainting-v1": {"prompt", "width", "height", "input_image", "output_format", "safety_tolerance"},
    "flux-3-image": {"prompt", "images", "aspect_ratio", "resolution", "grounding", "safety_tolerance", "version"},
}


def provider(*models: str, transport: httpx.AsyncBaseTransport | None = None, **settings: Any) -> BFLProvider:
    """The adapter of an entry with these models."""
    told = {"name": "flux", "kind": "bfl", "models": [{"name": one} for one in models], "settings": settings}
    [entry] = ProviderFile.model_validate({"providers": [told]}).providers
    return BFLProvider(entry, api_key="k", transport=transport)  # type: ignore[arg-type]


async def sent(model: str, *, images: int = 0, mask: bool = False, seed: int | None = None, **request: Any) -> Any:
    """The path and body that a request comes to."""
    asked: list[httpx.Request] = []

    def take(came: httpx.Request) -> httpx.Response:
        asked.append(came)
        return httpx.Response(200, json={"id": "t1", "polling_url": OWN})

    settings = request.pop("settings", {})
    speaking = provider(model, transport=HandlerTransport(take), **settings)
    places = [*range(images), *([-1] if mask else [])]
    inputs = tuple(InputImage(index=place, url=None, content_type="image/png") for place in places)
    order = ProviderRequest(
        call_id="c",
        idempotency_key="c",
        model=model,
        count=1,
        request=Request(prompt="a harbour", inputs=inputs, **request),
        seed=seed,
        inputs=(*[PICTURE] * images, *([MASK] if mask else [])),
    )
    try:
        operation = await speaking.submit(order)
    finally:
        await speaking.close()
    assert operation.state.get("seed") == (None if seed is None or "seed" not in FIELDS[model] else str(seed))
    return asked[0].url.path.removeprefix("/v1/"), json.loads(asked[0].content)


@pytest.mark.parametrize("model", FIELDS)
async def test_whatever_a_model_is_offered_for_goes_into_a_field_that_it_has(model: str) -> None:
    speaking = provider(model)
    offers = speaking.describe(is_default=False).capabilities
    await speaking.close()
    shape = {"size": "1024x1024"} if offers.max_side else {}
    shape = {"aspect_ratio": offers.aspect_ratios[0]} if offers.aspect_ratios else shape
    path, body = await sent(
        model,
        images=offers.max_input_images,
        mask=offers.mask,
        seed=7 if offers.seed else None,
        output_format=next(iter(offers.output_formats), None),
        quality=next(iter(offers.qualities), None),
        **shape,
    )

    assert path == model
    assert set(body) - FIELDS[model] == set()
    missing = FIELDS[model] - set(body) - {"safety_tolerance", "raw", "dilate_pixels", "grounding", "version"}
    assert missing == set()


async def test_flux_3_has_its_pictures_in_one_list_and_a_resolution_class() -> None:
    _, body = await sent("flux-3-image", images=10, aspect_ratio="7:5", quality="768sq")

    assert body == {"prompt": "a harbour", "aspect_ratio": "7:5", "resolution": "768sq", "images": [ENCODED] * 10}


async def test_pictures_and_masks_go_by_the_models_own_names() -> None:
    assert (await sent("flux-pro-1.1", images=1))[1] == {"prompt": "a harbour", "image_prompt": ENCODED}
    assert (await sent("flux-2-pro", images=2))[1] == {
        "prompt": "a harbour",
        "input_image": ENCODED,
        "input_image_2": ENCODED,
    }
    assert (await sent("flux-pro-1.0-fill", images=1, mask=True))[1] == {
        "prompt": "a harbour",
        "image": ENCODED,
        "mask": ENCODED_MASK,
    }
    assert (await sent("flux-tools/erase-v1", images=1, mask=True))[1] == {"image": ENCODED, "mask": ENCODED_MASK}


@pytest.mark.parametrize(
    ("model", "images", "mask"), [("flux-2-pro", 9, False), ("flux-2-pro", 1, True), ("flux-pro-1.1", 2, False)]
)
async def test_a_picture_that_a_model_would_not_be_given_is_refused_before_anything_is_sent(
    model: str, images: int, mask: bool
) -> None:
    with pytest.raises(ProviderError) as refused:
        await sent(model, images=images, mask=mask)

    assert (refused.value.reason, refused.value.acceptance) == ("UNSUPPORTED", Acceptance.NOT_ACCEPTED)


async def test_what_a_model_takes_is_told_by_its_name() -> None:
    told = {}
    for model in ("flux-pro-1.1", "flux-kontext-max", "flux-2-klein-4b", "flux-pro-1.0-fill", "flux-new-thing"):
        speaking = provider(model)
        offers = speaking.describe(is_default=False).capabilities
        await speaking.close()
        told[model] = (offers.min_side, offers.max_side, offers.side_multiple, offers.max_input_images, offers.mask)
        assert list(offers.output_formats) == ["png", "jpeg", "webp"]

    assert told == {
        "flux-pro-1.1": (256, 1440, 32, 1, False),
        "flux-kontext-max": (0, 0, 0, 4, False),
        "flux-2-klein-4b": (64, 2048, 16, 4, False),
        "flux-pro-1.0-fill": (0, 0, 0, 1, True),
        "flux-new-thing": (64, 2048, 16, 8, False),
    }


async def test_what_the_file_says_goes_on_top() -> None:
    fields = {"inputs": {"images": "pictures", "mask": "hole"}, "max_input_images": 2, "seed": False}
    speaking = provider("flux-new-thing", **fields)
    offers = speaking.describe(is_default=False).capabilities
    await speaking.close()

    assert (offers.max_input_images, offers.mask, offers.seed) == (2, True, False)


@pytest.mark.parametrize(
    ("model", "settings", "told"),
    [
        ("flux-pro-1.1", {"inputs": {"numbered_images": "input_image"}}, "inputs: {image: image_prompt}"),
        ("flux-3-image", {"inputs": {"image": "image_prompt"}, "max_input_images": 1}, "inputs: {images: images}"),
        ("flux-pro-1.0-fill", {"inputs": {"image": "image"}}, "inputs: {image: image, mask: mask}"),
        ("flux-pro-1.1", {"max_input_images": 4}, "write max_input_images: 1"),
        ("flux-2-klein-9b", {"max_input_images": 8}, "write max_input_images: 4"),
        ("flux-new-thing", {"inputs": {}}, "inputs names no field for them"),
        ("flux-new-thing", {"inputs": {"image": "a", "images": "b"}}, "one of image, images and numbered_images"),
    ],
)
def test_a_file_that_names_pictures_otherwise_than_a_known_model_is_told_what_to_write(
    model: str, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        provider(model, **settings)

    assert told in str(refused.value)


def test_who_wants_no_pictures_needs_no_fields() -> None:
    provider("flux-pro-1.1", max_input_images=0)
    provider("flux-pro-1.1", max_input_images=0, inputs={})


async def looks(**told: Any) -> Generated | Pending:
    """A look at a task."""
    speaking = provider(
        "flux-3-image", transport=HandlerTransport(lambda _: httpx.Response(200, json={"id": "t1"} | told))
    )
    try:
        return await speaking.poll(Operation(id="t1", state={"polling_url": OWN, "cost_micros": "50000"}))
    finally:
        await speaking.close()


@pytest.mark.parametrize("status", ["Pending", "Reasoning", "Generating"])
async def test_a_task_that_thinks_or_draws_is_under_way(status: str) -> None:
    assert await looks(status=status, progress=0.5) == Pending(progress=0.5)


@pytest.mark.parametrize(("cost", "micros"), [(4.8, 48_000), (None, 50_000), ("much", 50_000)])
async def test_the_cost_that_a_task_tells_at_its_end_is_the_one(cost: Any, micros: int) -> None:
    made = await looks(status="Ready", result={"sample": "https://a.test/0"}, cost=cost)

    assert isinstance(made, Generated)
    assert made.cost_micros == micros
