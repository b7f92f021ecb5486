"""Several models with different limits in one entry: each is asked, and offered, by its own settings."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.config import ConfigError
from services.generator.adapters.providers import provider_file
from services.generator.adapters.providers.by_model import ModelProviders
from services.generator.adapters.providers.factory import build
from services.generator.adapters.providers.fal.provider import FalProvider
from services.generator.adapters.providers.kinds import KINDS, ProviderFile
from services.generator.adapters.providers.procedural.process_pool import Renderers
from services.generator.domain.jobs import MaskForm, Request
from services.generator.domain.provider_results import CancelOutcome, Generated, Operation, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.generator.decoder import decoder
from tests.support.providers.http_transport import HandlerTransport

ENTRY: dict[str, Any] = {
    "name": "fal",
    "kind": "fal",
    "api_key_env": "KEY",
    "models": [
        {"name": "fal-ai/flux/dev", "price_micros_per_image": 25_000},
        {
            "name": "fal-ai/nano-banana/edit",
            "price_micros_per_image": 39_000,
            "settings": {
                "inputs": {"prompt": "text", "images": "image_urls", "aspect_ratio": "aspect_ratio"},
                "max_input_images": 4,
                "max_images_per_call": 1,
            },
        },
    ],
    "settings": {"max_images_per_call": 4, "max_side": 2048},
}
FIRST, SECOND = (model["name"] for model in ENTRY["models"])
SETTINGS = {
    "procedural": {},
    "comfyui": {"workflow": {"1": {"class_type": "T", "inputs": {"text": ""}}}, "slots": {"prompt": "1.inputs.text"}},
    "diffusers": {"path": "a/b"},
    "bedrock": {"region": "us-east-1"},
    "generic": {"submit": {"path": "/images", "fields": {"prompt": "prompt"}}, "result": {"urls": "data.*.url"}},
}


class Vendor:
    """A queue, and what was put into it."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        [entry] = ProviderFile.model_validate({"providers": [ENTRY]}).providers
        made = [FalProvider(one, api_key="k", transport=HandlerTransport(self._take)) for one in self._entries(entry)]
        self.provider = ModelProviders(made[0], {FIRST: made[1], SECOND: made[2]})

    @staticmethod
    def _entries(entry: Any) -> list[Any]:
        return [entry, *(entry.narrowed_to(model) for model in entry.models)]

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.method == "PUT":
            return httpx.Response(200, json={"status": "OK"})
        if request.method == "GET":
            done = {"status": "COMPLETED", "images": [{"url": "https://a.test/0"}]}
            return httpx.Response(200, json=done)
        names = ("status_url", "response_url", "cancel_url")
        return httpx.Response(200, json={"request_id": "r1"} | dict.fromkeys(names, "https://queue.fal.run/r1"))

    async def asks(self, model: str, **request: Any) -> tuple[Operation, dict[str, Any]]:
        """What a call comes to, and its body."""
        wanted = Request(prompt="a harbour", **request)
        order = ProviderRequest(call_id="c", idempotency_key="c", model=model, count=1, request=wanted)
        operation = await self.provider.submit(order)
        assert isinstance(operation, Operation)
        return operation, json.loads(self.asked[-1].content)


async def test_each_model_is_asked_by_its_own_settings_on_top_of_the_entrys() -> None:
    vendor = Vendor()
    _, first = await vendor.asks(FIRST, size="64x64")
    _, second = await vendor.asks(SECOND, aspect_ratio="16:9")
    with pytest.raises(ProviderError, match="has no model 'fal-ai/other'"):
        await vendor.asks("fal-ai/other")
    await vendor.provider.close()

    assert first == {"prompt": "a harbour", "num_images": 1, "image_size": {"width": 64, "height": 64}}
    assert second == {"text": "a harbour", "aspect_ratio": "16:9"}


async def test_an_operation_is_followed_and_stopped_by_its_models_own_adapter() -> None:
    vendor = Vendor()
    operation, _ = await vendor.asks(SECOND)
    made = await vendor.provider.poll(operation)
    stopped = await vendor.provider.cancel(operation)
    told = await vendor.provider.watch(operation, lambda share: None)
    await vendor.provider.close()

    assert isinstance(made, Generated)
    assert (made.cost_micros, stopped, told) == (39_000, CancelOutcome.CONFIRMED, False)


async def test_the_catalogue_says_of_a_model_what_is_not_so_for_the_others() -> None:
    vendor = Vendor()
    told = vendor.provider.describe(is_default=True)
    await vendor.provider.close()
    own = told.models[1].capabilities

    assert (told.capabilities.max_side, told.capabilities.max_input_images) == (2048, 0)
    assert not told.models[0].HasField("capabilities")
    assert (own.max_side, own.max_input_images, own.cancelable, own.max_images_per_call) == (0, 4, True, 1)
    assert [vendor.provider.images_per_call(name) for name in (FIRST, SECOND, "other")] == [4, 1, 4]
    assert vendor.provider.mask_form(SECOND) is MaskForm.WHITE


async def test_an_entry_of_one_model_without_settings_of_its_own_is_one_adapter() -> None:
    renderers = Renderers()
    for models, kind in ((ENTRY["models"][:1], FalProvider), (ENTRY["models"][1:], ModelProviders)):
        [entry] = ProviderFile.model_validate({"providers": [ENTRY | {"models": models}]}).providers
        built = build(entry, environ={"KEY": "k"}, renderers=renderers, decoder=decoder())
        await built.close()

        assert isinstance(built, kind)
    await renderers.close()


async def test_endpoints_of_one_entry_are_offered_each_for_what_it_takes() -> None:
    renderers = Renderers()
    names = ("core", "sd3/sd3.5-large", "edit/inpaint")
    told = {"name": "s", "kind": "stability", "api_key_env": "KEY", "models": [{"name": name} for name in names]}
    [entry] = ProviderFile.model_validate({"providers": [told]}).providers
    built = build(entry, environ={"KEY": "k"}, renderers=renderers, decoder=decoder())
    known = built.describe(is_default=True)
    await built.close()
    await renderers.close()
    core, sd3, inpaint = (model.capabilities for model in known.models)

    assert (known.capabilities.max_input_images, list(known.capabilities.aspect_ratios)) == (0, [])
    assert (core.max_input_images, core.mask, "webp" in core.output_formats, len(core.aspect_ratios)) == (
        0,
        False,
        True,
        9,
    )
    assert (sd3.max_input_images, sd3.mask, "webp" in sd3.output_formats) == (1, False, False)
    assert (inpaint.max_input_images, inpaint.mask, list(inpaint.aspect_ratios)) == (1, True, [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_models_settings_are_checked_by_its_kind_and_the_mistake_has_its_line(kind: str, tmp_path: Path) -> None:
    model = {"stability": "core", "bedrock": "amazon.nova-canvas-v1:0"}.get(kind, "a/b")
    text = f"""
providers:
  - name: x
    kind: {kind}
    settings: {json.dumps(SETTINGS.get(kind, {}))}
    models:
      - name: "{model}"
        settings:
          colour: red
"""
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        provider_file.read(path, max_timeout_seconds=600)

    assert str(error.value).startswith(f"{path}:9:11: providers.0.models.0.settings.colour: ")


@pytest.mark.parametrize(
    ("kind", "model", "own", "given"),
    [
        ("openai", "m", {"max_input_images": 3}, {"qualities": ["high"]}),
        ("gemini", "m", {"max_input_images": 3}, {"seed": True}),
        ("replicate", "a/b", {"max_side": 512}, {"min_side": 64}),
        ("diffusers", "m", {"max_side": 512}, {"path": "a/b"}),
        ("comfyui", "m", {"max_side": 512}, SETTINGS["comfyui"]),
    ],
)
def test_a_models_settings_leave_the_entrys_others_as_they_are(
    kind: str, model: str, own: dict[str, Any], given: dict[str, Any]
) -> None:
    told = {"name": "x", "kind": kind, "models": [{"name": model, "settings": own}], "settings": given}
    [entry] = ProviderFile.model_validate({"providers": [told]}).providers
    found = entry.settings_of(model)

    assert {name: getattr(found, name) for name in own} == own
    assert all(getattr(found, name) == getattr(entry.settings, name) for name in given)
    assert entry.narrowed_to(entry.models[0]).settings == found
    assert entry.settings_of("other") == entry.settings


def test_a_workflow_in_a_file_stays_when_a_model_has_settings_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps(SETTINGS["comfyui"]["workflow"]), encoding="utf-8")
    settings = {"workflow_file": str(path), "slots": SETTINGS["comfyui"]["slots"]}
    models = [{"name": "m", "settings": {"max_side": 512}}]
    told = {"name": "x", "kind": "comfyui", "models": models, "settings": settings}
    [entry] = ProviderFile.model_validate({"providers": [told]}).providers

    assert entry.settings_of("m").max_side == 512
    assert entry.settings_of("m").workflow == entry.settings.workflow
