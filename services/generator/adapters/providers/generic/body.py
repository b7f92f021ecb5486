"""The request body of the kind `generic`: the settings' constants, the job's options, and the job's fields."""

import copy
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.generic import dotted_paths
from services.generator.adapters.providers.generic.entry import GenericField, GenericSettings
from services.generator.adapters.providers.http import forms
from services.generator.domain.jobs import Request
from services.generator.ports import ProviderRequest

#: Namespace of the field `uuid`, which is made from the call's id.
NAMESPACE = UUID("7d0a1a0e-0f43-4c37-8d0f-9f3c8f1f2b7a")


def request_of(settings: GenericSettings, provider_request: ProviderRequest, request: Request) -> dict[str, Any]:
    """Returns httpx's arguments for the body. A job's options cannot change the settings' constants."""
    submit = settings.submit
    body = copy.deepcopy(submit.body)
    options = dotted_paths.at(body, submit.options)
    for name, value in request.options.items():
        options.setdefault(name, value)
    files: list[tuple[str, tuple[str | None, Any] | tuple[str, bytes, str]]] = []
    for field, value in _fields(settings, provider_request, request).items():
        if value is None or field not in submit.fields:
            continue
        if submit.encoding == "form" and field in ("image", "images", "mask"):
            files += _files(submit.fields[field], value)
        else:
            dotted_paths.put(body, submit.fields[field], _spelled(settings, field, value))
    if submit.encoding == "json":
        return {"json": body}
    assert isinstance(body, dict)
    parts = [
        (name, (None, item))
        for name, values in forms.fields(body).items()
        for item in ([values] if isinstance(values, str) else values)
    ]
    return {"files": [*parts, *files]}


def _fields(
    settings: GenericSettings, provider_request: ProviderRequest, request: Request
) -> Mapping[GenericField, Any]:
    """Returns the fields of a job by our names."""
    submit = settings.submit
    width, _, height = (request.size or "").partition("x")
    attached = input_images.of_request(provider_request)
    seed = provider_request.seed
    if seed is not None and submit.max_seed is not None:
        seed %= submit.max_seed + 1
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "n": provider_request.count,
        "seed": seed,
        "size": request.size,
        "width": int(width) if height else None,
        "height": int(height) if height else None,
        "aspect_ratio": request.aspect_ratio,
        "quality": request.quality,
        "output_format": request.output_format,
        "model": provider_request.model,
        "uuid": str(uuid5(NAMESPACE, provider_request.call_id)),
        "image": attached.images[0] if attached.images else None,
        "images": list(attached.images) or None,
        "mask": attached.mask,
    }


def _spelled(settings: GenericSettings, field: GenericField, value: Any) -> Any:
    """Returns a value in the provider's spelling."""
    submit = settings.submit
    if isinstance(value, bytes):
        return input_images.encoded(value) if submit.images_as == "base64" else input_images.data_uri(value)
    if isinstance(value, list):
        return [_spelled(settings, field, item) for item in value]
    spelling = submit.values.get(field, {}).get(str(value))
    if spelling is not None:
        return spelling
    return value.replace("x", submit.size_separator) if field == "size" else value


def _files(name: str, value: bytes | list[bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    listed = value if isinstance(value, list) else [value]
    return [(name, input_images.file_of(str(number), data)) for number, data in enumerate(listed)]
