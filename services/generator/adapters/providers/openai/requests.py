"""Requests of OpenAI's Images API: fields by the entry's names, input images in a form or in JSON."""

import base64
from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.http import forms
from services.generator.adapters.providers.openai.entry import IMAGE, Edits, OpenAIField, OpenAISettings
from services.generator.domain.jobs import Request
from services.generator.ports import ProviderRequest

_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


def fields(provider_request: ProviderRequest, request: Request, settings: OpenAISettings) -> dict[str, Any]:
    """Returns the job's options, replaced by every field that `inputs` names."""
    width, _, height = (request.size or "").partition("x")
    known: Mapping[OpenAIField, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "n": provider_request.count,
        "seed": provider_request.seed,
        "size": request.size,
        "width": int(width) if height else None,
        "height": int(height) if height else None,
        "aspect_ratio": request.aspect_ratio,
        "quality": request.quality,
        "output_format": request.output_format,
        "background": request.background,
        "output_compression": request.output_compression,
        "moderation": request.moderation,
        "input_fidelity": request.input_fidelity,
    }
    inputs = settings.inputs
    given = {inputs[name]: value for name, value in known.items() if value is not None and name in inputs}
    if (several := settings.quality_fields.get(request.quality or "")) is not None:
        given.pop(inputs.get("quality", ""), None)
        given |= several
    if settings.response_format is not None:
        given["response_format"] = settings.response_format
    return {**request.options, "model": provider_request.model, **given}


def body(provider_request: ProviderRequest, values: Mapping[str, Any], edits: Edits) -> dict[str, Any]:
    """Returns httpx's arguments for the body: the fields, and the input images if there are any."""
    if not provider_request.inputs:
        return {"json": values}
    if edits.body == "multipart":
        return {"data": forms.fields(values), "files": _files(provider_request, edits)}
    images, mask = _split_inputs(provider_request)
    items = [_item(edits.item, data) for data in images]
    image_field = {edits.name: items[0] if edits.single else items}
    return {"json": {**values, **image_field, **({} if mask is None else {str(edits.mask): _item(edits.item, mask)})}}


def _files(provider_request: ProviderRequest, edits: Edits) -> list[tuple[str, tuple[str, bytes, str]]]:
    images, mask = _split_inputs(provider_request)
    files = [(edits.name, _file(f"image-{number}", data)) for number, data in enumerate(images)]
    return files if mask is None else [*files, (str(edits.mask), _file("mask", mask))]


def _split_inputs(provider_request: ProviderRequest) -> tuple[tuple[bytes, ...], bytes | None]:
    """Returns the images in their order, and the mask, which is the last of the inputs; None without one."""
    has_mask = any(image.index < 0 for image in provider_request.request.inputs)
    return (provider_request.inputs[:-1], provider_request.inputs[-1]) if has_mask else (provider_request.inputs, None)


def _file(name: str, data: bytes) -> tuple[str, bytes, str]:
    kind = _kind(data)
    return f"{name}.{kind.rpartition('/')[2]}", data, kind


def _item(shape: Any, data: bytes) -> Any:
    """Returns `edits.item` with an image in place of the placeholder."""
    return _filled(shape, f"data:{_kind(data)};base64,{base64.b64encode(data).decode()}")


def _filled(shape: Any, image: str) -> Any:
    if isinstance(shape, dict):
        return {name: _filled(value, image) for name, value in shape.items()}
    return image if shape == IMAGE else shape


def _kind(data: bytes) -> str:
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), "application/octet-stream")
