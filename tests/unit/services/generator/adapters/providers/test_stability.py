"""The provider kind `stability`: its models and seeds, and what an entry's models leave of the catalogue."""

from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.generator.adapters.providers.stability.entry import StabilityEntry
from services.generator.adapters.providers.stability.provider import StabilityProvider
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Generated, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport
from tests.support.providers.multipart_forms import form_of

MOST_SEED = 4_294_967_294
KEY = "sk-secret"
MADE = {"image": "MA==", "finish_reason": "SUCCESS", "seed": 7}


def entry(*models: str, **told: Any) -> StabilityEntry:
    """An entry with these models."""
    priced = [{"name": name, "price_micros_per_image": 1000} for name in models]
    return StabilityEntry.model_validate({"name": "stable", "kind": "stability", "models": priced} | told)


async def ask(
    model: str = "core", *, seed: int | None = None, answer: Any = MADE, **request: Any
) -> tuple[Generated, str, dict[str, str]]:
    """What came of a call, the path that was asked for, and the form that was sent."""
    asked: list[httpx.Request] = []

    def take(came: httpx.Request) -> httpx.Response:
        asked.append(came)
        return httpx.Response(200, json=answer, headers={"x-request-id": "req_1"})

    provider = StabilityProvider(entry(model, allowed_options="any"), api_key=KEY, transport=HandlerTransport(take))
    wanted = Request(prompt="a harbour", **request)
    order = ProviderRequest(call_id="c", idempotency_key="c", model=model, count=1, request=wanted, seed=seed)
    try:
        made = await provider.submit(order)
    finally:
        await provider.close()
    fields = form_of(asked[0].headers["content-type"], asked[0].content)
    return made, asked[0].url.path, {field["name"]: field["value"] for field in fields}


def offers(*models: str, **settings: Any) -> tuple[list[str], bool]:
    """Output formats and negative prompt, as the catalogue has them."""
    provider = StabilityProvider(entry(*models, settings=settings), api_key=KEY)
    told = provider.describe(is_default=False).capabilities
    return list(told.output_formats), told.negative_prompt


@pytest.mark.parametrize(
    ("model", "path", "named"),
    [
        ("core", "core", None),
        ("ultra", "ultra", None),
        ("sd3", "sd3", None),
        ("sd3/sd3.5-large", "sd3", "sd3.5-large"),
    ],
)
async def test_a_model_is_an_endpoint_and_for_sd3_a_field(model: str, path: str, named: str | None) -> None:
    made, asked, fields = await ask(model)

    assert asked == f"/v2beta/stable-image/generate/{path}"
    assert fields.get("model") == named
    assert made.cost_micros == 1000


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (0, MOST_SEED),
        (1, 1),
        (MOST_SEED - 1, MOST_SEED - 1),
        (MOST_SEED, MOST_SEED),
        (MOST_SEED + 1, 1),
        (2 * MOST_SEED, MOST_SEED),
        (2**63 - 1, (2**63 - 2) % MOST_SEED + 1),
    ],
)
async def test_a_seed_is_never_the_one_that_asks_for_a_random_one(ours: int, theirs: int) -> None:
    _, _, fields = await ask(seed=ours)

    assert fields["seed"] == str(theirs)


@pytest.mark.parametrize(
    ("told", "seed"), [(0, 0), (MOST_SEED, MOST_SEED), (MOST_SEED + 1, None), (-1, None), ("7", None), (True, None)]
)
async def test_the_seed_of_an_image_is_the_one_that_the_vendor_names(told: Any, seed: int | None) -> None:
    made, _, _ = await ask(seed=5, answer=MADE | {"seed": told})

    assert made.images[0].seed == seed


async def test_options_are_text_in_a_form_and_give_way_to_fields_of_the_request() -> None:
    options = {"cfg_scale": 4.5, "style_preset": "anime", "fast": True, "output_format": "jpeg", "prompt": "a car"}
    _, _, fields = await ask(output_format="png", options=options)

    assert fields == {
        "prompt": "a harbour",
        "output_format": "png",
        "cfg_scale": "4.5",
        "style_preset": "anime",
        "fast": "true",
    }


@pytest.mark.parametrize(
    "answer",
    [MADE | {"finish_reason": None}, MADE | {"finish_reason": 1}, {"image": "MA=="}, MADE | {"image": ["MA=="]}],
)
async def test_what_is_not_surely_a_success_keeps_its_evidence(answer: Any) -> None:
    with pytest.raises(ProviderError) as failed:
        await ask(answer=answer)

    assert (failed.value.code, failed.value.acceptance) == ("UNKNOWN", "unknown")
    assert failed.value.vendor.request_id == "req_1"
    assert "MA==" in failed.value.vendor.message


async def test_an_answer_that_nobody_can_read_keeps_its_evidence() -> None:
    with pytest.raises(ProviderError) as failed:
        await ask(answer=["MA=="])

    assert failed.value.vendor.request_id == "req_1"


def test_the_catalogue_offers_what_all_models_take() -> None:
    assert offers("core", "ultra") == (["png", "jpeg", "webp"], True)
    assert offers("core", "sd3") == (["png", "jpeg"], True)
    assert offers("sd3/sd3.5-large-turbo") == (["png", "jpeg"], False)
    assert offers("sd3/x-turbo", output_formats=["webp"], negative_prompt=True) == (["webp"], True)


@pytest.mark.parametrize("model", ["", "core/x", "sd3/", "sd3/../x", "../user/balance", "sd4", "CORE", "core\n"])
def test_a_model_that_is_no_endpoint_is_refused_when_the_file_is_read(model: str) -> None:
    with pytest.raises(ValidationError):
        entry(model)


def test_an_entry_names_its_models() -> None:
    with pytest.raises(ValidationError):
        entry(default_model="core")
    with pytest.raises(ValidationError):
        entry("core", default_model="ultra")

    assert entry("core", "ultra", default_model="ultra").model == "ultra"
