"""Workflows of ComfyUI as data: a request put into the slots of one, and the files that go in and come out."""

import hashlib
from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers import options
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry, Slot
from services.generator.adapters.providers.http import model_names
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, ProviderError
from services.generator.ports import Order

#: 53 bits: a seed survives JSON readers that know only floating-point numbers.
SEED_BITS = 53
_FORMATS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"RIFF", "webp"))
Workflow = dict[str, dict[str, Any]]


def filled(entry: ComfyUIEntry, order: Order, *, seed: int) -> Workflow:
    """The entry's workflow with a request in it. Raises `ProviderError` for what it has no input for."""
    settings = entry.settings
    request = entry.request_for(order.model, order.request)
    found = {
        name: {"class_type": node.class_type, "inputs": dict(node.inputs)} for name, node in settings.workflow.items()
    }
    for address, value in _inputs_of_model(entry, order.model).items():
        put(found, address, value)
    for name, value in request.options.items():
        put(found, *_option(entry, name, value))
    for slot, value in _fields(request, count=order.count, seed=seed).items():
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
    """The input that an option sets, and what it is set to."""
    settings = entry.settings
    choice = settings.choices.get(name)
    if choice is not None:
        if not isinstance(value, str) or value not in choice.values:
            raise options.not_taken(entry.name, name, f"it must be one of {', '.join(choice.values)[:500]}")
        return choice.input, choice.values[value]
    if name in settings.kept_inputs:
        raise options.not_taken(entry.name, name[:100], "the provider file lists what it may be")
    if not settings.can_set(name) or not isinstance(value, (str, int, float)):
        raise _no_such_option(entry.name, name)
    return name, value


def put(workflow: Workflow, address: str, value: Any) -> None:
    """Set the input at `NODE.inputs.NAME`."""
    node, _, name = address.partition(".inputs.")
    workflow[node]["inputs"][name] = value


def seed_of(call_id: str) -> int:
    """A seed for a call that has none: with a workflow's own, each call would draw the same picture."""
    return int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8], "big") >> (64 - SEED_BITS)


def file_of(data: bytes) -> tuple[str, bytes, str]:
    """An input image as a file of a form. The same image has the same name: the server keeps it once."""
    name = f"calotype-{hashlib.sha256(data).hexdigest()[:32]}"
    found = next((form for start, form in _FORMATS if data.startswith(start)), None)
    return (f"{name}.{found}", data, f"image/{found}") if found else (name, data, "application/octet-stream")


def saved(outputs: Any) -> list[dict[str, str]]:
    """The files that a history names, in its order; those of previews only where nothing was saved."""
    nodes = outputs.values() if isinstance(outputs, dict) else ()
    lists = [node.get("images") for node in nodes if isinstance(node, dict)]
    told = [file for one in lists if isinstance(one, list) for file in one]
    files = [_file(one) for one in told if isinstance(one, dict) and isinstance(one.get("filename"), str)]
    return [one for one in files if one["type"] == "output"] or [one for one in files if one["type"] == "temp"]


def _file(told: Mapping[str, Any]) -> dict[str, str]:
    return {part: str(told.get(part) or "") for part in ("filename", "subfolder", "type")}


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
        code="PERMANENT",
        reason="UNSUPPORTED",
        message=f"{name} has a workflow without an input {address[:100]!r} that takes such a value.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
