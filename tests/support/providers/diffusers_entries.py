"""Entries and calls of the provider kind `diffusers`."""

from typing import Any

from services.generator.adapters.providers.diffusers.entry import DiffusersEntry, DiffusersSettings
from services.generator.domain.jobs import Request
from services.generator.ports import ProviderRequest


def entry(settings: dict[str, Any] | None = None, **fields: Any) -> DiffusersEntry:
    """An entry of the provider file."""
    model_settings = DiffusersSettings(**({"path": "owner/model"} | (settings or {})))
    return DiffusersEntry(**({"name": "local", "kind": "diffusers", "settings": model_settings} | fields))


def order(*, count: int = 1, key: str = "call_1", seed: int | None = None, **request: Any) -> ProviderRequest:
    """A call."""
    job_request = Request(**({"prompt": "a harbour"} | request))
    return ProviderRequest(call_id=key, idempotency_key=key, model="model", count=count, request=job_request, seed=seed)
