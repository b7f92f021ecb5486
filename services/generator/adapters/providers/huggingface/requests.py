"""The request to each inference provider behind Hugging Face's router: path, body and headers.

Source: Hugging Face's own client, https://github.com/huggingface/huggingface.js/tree/main/packages/inference
"""

from collections.abc import Callable, Mapping
from typing import Any

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.http import model_names
from services.generator.domain.jobs import Request
from services.generator.ports import ProviderRequest

Body = dict[str, Any]


def request_of(
    provider: str, name: str, provider_request: ProviderRequest, request: Request
) -> tuple[str, Body, Mapping[str, str]]:
    """Returns path, body and headers of a request. Raises `ProviderError` for an impossible model name."""
    return _BY_PROVIDER[provider](name, provider_request, request)


def _sides(request: Request) -> Body:
    width, _, height = (request.size or "").partition("x")
    return {"width": int(width), "height": int(height)} if height else {}


def _non_empty(**fields: Any) -> Body:
    return {name: value for name, value in fields.items() if value not in (None, {})}


def _task(provider_request: ProviderRequest, request: Request) -> Body:
    """Returns the body of Hugging Face's own API, for text to image or image to image."""
    common = _non_empty(negative_prompt=request.negative_prompt, seed=provider_request.seed)
    if not provider_request.inputs:
        return {"inputs": request.prompt, "parameters": {**request.options, **common, **_sides(request)}}
    parameters = {**request.options, **common, "prompt": request.prompt, **_non_empty(target_size=_sides(request))}
    return {"inputs": input_images.encoded(provider_request.inputs[0]), "parameters": parameters}


def _hf_inference(
    name: str, provider_request: ProviderRequest, request: Request
) -> tuple[str, Body, Mapping[str, str]]:
    model = model_names.path(name, provider_request.model, parts=range(1, 3))
    return f"/hf-inference/models/{model}", _task(provider_request, request), {}


def _endpoint(name: str, provider_request: ProviderRequest, request: Request) -> tuple[str, Body, Mapping[str, str]]:
    return "", _task(provider_request, request), {}


def _fal(name: str, provider_request: ProviderRequest, request: Request) -> tuple[str, Body, Mapping[str, str]]:
    model = model_names.path(name, provider_request.model, parts=range(1, 7))
    fields = _non_empty(negative_prompt=request.negative_prompt, seed=provider_request.seed, image_size=_sides(request))
    # Without fal's own retries, which it would not report.
    return f"/fal-ai/{model}", {**request.options, "prompt": request.prompt, **fields}, {"x-fal-no-retry": "1"}


def _replicate(name: str, provider_request: ProviderRequest, request: Request) -> tuple[str, Body, Mapping[str, str]]:
    model, _, version = provider_request.model.partition(":")
    path = model_names.path(name, model, parts=range(2, 3))
    common = _non_empty(negative_prompt=request.negative_prompt, seed=provider_request.seed)
    body: Body = {"input": {**request.options, "prompt": request.prompt, **common, **_sides(request)}}
    if version:
        return "/replicate/v1/predictions", {**body, "version": version}, {"Prefer": "wait"}
    return f"/replicate/v1/models/{path}/predictions", body, {"Prefer": "wait"}


def _together(name: str, provider_request: ProviderRequest, request: Request) -> tuple[str, Body, Mapping[str, str]]:
    addresses = [input_images.data_uri(data) for data in provider_request.inputs]
    lowered = provider_request.model.lower()
    if "kontext" in lowered and "flux.1" in lowered:
        images = _non_empty(image_url=addresses[0] if addresses else None)
    else:
        images = _non_empty(reference_images=addresses or None)
    common = _non_empty(negative_prompt=request.negative_prompt, seed=provider_request.seed)
    body = {"prompt": request.prompt, "response_format": "base64", "model": provider_request.model}
    return "/together/v1/images/generations", {**request.options, **body, **common, **_sides(request), **images}, {}


def _nscale(name: str, provider_request: ProviderRequest, request: Request) -> tuple[str, Body, Mapping[str, str]]:
    common = _non_empty(negative_prompt=request.negative_prompt, seed=provider_request.seed, size=request.size)
    body = {"prompt": request.prompt, "response_format": "b64_json", "model": provider_request.model}
    return "/nscale/v1/images/generations", {**request.options, **body, **common}, {}


_BY_PROVIDER: Mapping[str, Callable[[str, ProviderRequest, Request], tuple[str, Body, Mapping[str, str]]]] = {
    "hf-inference": _hf_inference,
    "endpoint": _endpoint,
    "fal-ai": _fal,
    "replicate": _replicate,
    "together": _together,
    "nscale": _nscale,
}
