"""ComfyUI's workflows as data: a request's values in their inputs, and the files that they load and save."""

import hashlib
from collections.abc import Mapping
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers import options
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry, Slot
from services.generator.adapters.providers.http import model_names
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, ProviderError
from services.generator.ports import ProviderRequest

#: JSON readers with only floating-point numbers keep 53 bits exactly.
SEED_BITS = 53
_FORMATS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"RIFF", "webp"))
Workflow = dict[str, dict[str, Any]]


def filled(entry: ComfyUIEntry, provider_request: ProviderRequest, *, seed: int) -> Workflow:
    """Returns the entry's workflow with a request's values. Raises `ProviderError` for a value without an input."""
    settings = entry.settings
    request = entry.request_for(provider_request.model, provider_request.request)
    found = {
        name: {"class_type": node.class_type, "inputs": dict(node.inputs)} for name, node in settings.workflow.items()
    }
    for address, value in _inputs_of_model(entry, provider_request.model).items():
        put(found, address, value)
    for name, value in request.options.items():
        put(found, *_option(entry, name, value))
    for slot, value in _fields(request, count=provider_request.count, seed=seed).items():
        place = settings.slots.get(slot)
        if value is not None and isinstance(place, str):
            put(found, place, value)
    return found


def _inputs_of_model(entry: ComfyUIEntry, model: str) -> Mapping[str, Any]:
    if not entry.settings.models:
        return {}
    if model not in entry.settings.models:
        raise model_names.unknown(entry.name, model)
    return entry.settings.models[model]


def _option(entry: ComfyUIEntry, name: str, value: Any) -> tuple[str, Any]:
    """Returns the input that an option sets, and its value."""
    settings = entry.settings
    choice = settings.choices.get(name)
    if choice is not None:
        if not isinstance(value, str) or value not in choice.values:
            raise options.option_refused(entry.name, name, f"it must be one of {', '.join(choice.values)[:500]}")
        return choice.input, choice.values[value]
    if name in settings.kept_inputs:
        raise options.option_refused(entry.name, name[:100], "the provider file sets it by model or by choice")
    if not settings.can_set(name) or not isinstance(value, (str, int, float)):
        raise _no_such_option(entry.name, name)
    return name, value


def put(workflow: Workflow, address: str, value: Any) -> None:
    """Sets the input `NODE.inputs.NAME`."""
    node, _, name = address.partition(".inputs.")
    workflow[node]["inputs"][name] = value


def seed_of(call_id: str) -> int:
    """Returns a seed for a call without one; with the workflow's seed, every call would draw the same image."""
    return int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8], "big") >> (64 - SEED_BITS)


def file_of(data: bytes) -> tuple[str, bytes, str]:
    """Returns an input image as the file of a form. Equal images have equal names, so the server keeps one."""
    name = f"calotype-{hashlib.sha256(data).hexdigest()[:32]}"
    found = next((form for start, form in _FORMATS if data.startswith(start)), None)
    return (f"{name}.{found}", data, f"image/{found}") if found else (name, data, "application/octet-stream")


def saved(outputs: Any) -> list[dict[str, str]]:
    """Returns the files that a history names, in its order; previews only if nothing was saved."""
    nodes = outputs.values() if isinstance(outputs, dict) else ()
    lists = [node.get("images") for node in nodes if isinstance(node, dict)]
    listed = [file for item in lists if isinstance(item, list) for file in item]
    files = [_file(item) for item in listed if isinstance(item, dict) and isinstance(item.get("filename"), str)]
    return [item for item in files if item["type"] == "output"] or [item for item in files if item["type"] == "temp"]


def _file(file: Mapping[str, Any]) -> dict[str, str]:
    return {part: str(file.get(part) or "") for part in ("filename", "subfolder", "type")}


def _fields(request: Request, *, count: int, seed: int) -> Mapping[Slot, Any]:
    width, _, height = (request.size or "").partition("x")
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": seed,
        "width": int(width) if height else None,
        "height": int(height) if height else None,
        "n": count,
    }


def _no_such_option(name: str, address: str) -> ProviderError:
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.UNSUPPORTED,
        message=f"The workflow of {name} has no input {address[:100]!r} that takes such a value.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
