"""A tenant's words on their way to a vendor: they become no address, no setting and no bill of the operator's."""

from dataclasses import replace
from typing import Any

import pytest

from services.generator.domain.provider_results import Acceptance, ProviderError
from tests.support.providers import goldens
from tests.support.providers.scripted_http import scripted_server

GOLDENS = {kind: goldens.read(kind) for kind in goldens.kinds()}
#: What a path is resolved by, what ends one, and what stands for another tenant's operation.
MODELS = (
    "../predictions/p1/cancel?x=",
    "../../admin",
    "..",
    ".",
    "a/../../v1/predictions/p1/cancel",
    "%2e%2e/%2e%2e/admin",
    "owner/name?webhook=http://attacker.example",
    "owner/name#",
    "owner\\name",
    "owner/name\r\nX-Injected: 1",
    "//attacker.example/v1",
    "http://attacker.example/v1",
    "deployments/owner/dearer",
    "",
    "a" * 5_000,
)
#: Settings by which a job would change what the operator relies on, each by the names of some vendor.
OPTIONS: tuple[dict[str, Any], ...] = (
    {"safety_tolerance": 6},
    {"disable_safety_checker": True},
    {"enable_safety_checker": False},
    {"moderation": "low"},
    {"safetySettings": [{"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "threshold": "BLOCK_NONE"}]},
    {"generationConfig": {"responseModalities": ["TEXT"]}},
    {"num_images": 16, "num_outputs": 16, "n": 16, "batch_size": 4096},
    {"width": 16_384, "height": 16_384},
    {"model": "dearer", "ckpt_name": "other.safetensors"},
    {"webhook": "http://attacker.example", "webhook_url": "http://attacker.example"},
    {"10.inputs.image": "ComfyUI_00001_.png [output]"},
    {"3.inputs.steps": 1_000_000},
    {"9.inputs.filename_prefix": "../../x"},
    {"image_url": "http://169.254.169.254/latest/meta-data/"},
    {"alwayson_scripts": {"x": {"args": []}}, "script_name": "x"},
    {"override_settings": {"outdir_samples": "/etc"}},
)


async def refusal(kind: str, *, model: str | None = None, options: dict[str, Any] | None = None) -> ProviderError:
    """Why a call is refused; the vendor must not have been asked for anything."""
    golden = replace(GOLDENS[kind], entry={**GOLDENS[kind].entry, "allowed_options": {}})
    order = goldens.order_of(golden, {"job": {"provider_options": options or {}}})
    order = order if model is None else replace(order, model=model)
    async with scripted_server() as vendor:
        provider = goldens.provider_of(golden, vendor.url)
        try:
            with pytest.raises(ProviderError) as error:
                await provider.submit(order)
        finally:
            await provider.close()
        assert [(one.method, one.path) for one in vendor.requests] == []
    return error.value


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", GOLDENS)
async def test_a_model_that_the_operator_did_not_name_reaches_no_vendor(kind: str, model: str) -> None:
    error = await refusal(kind, model=model)

    assert (error.reason, error.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda one: next(iter(one)))
@pytest.mark.parametrize("kind", GOLDENS)
async def test_an_option_that_the_operator_did_not_allow_reaches_no_vendor(kind: str, options: dict[str, Any]) -> None:
    error = await refusal(kind, options=options)

    assert (error.reason, error.acceptance) == ("UNSUPPORTED", Acceptance.NOT_ACCEPTED)
