"""Image providers, one file each: what differs is in the file, and nothing of it is known outside.

`build` is the one place that knows which kinds there are.
"""

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from services.generator.adapters import provider_entries as entries
from services.generator.adapters.decoding_processes import DecodingProcesses
from services.generator.adapters.providers.a1111 import A1111Provider
from services.generator.adapters.providers.azure_openai import AzureOpenAIProvider
from services.generator.adapters.providers.bedrock import BedrockProvider
from services.generator.adapters.providers.bfl import BFLProvider
from services.generator.adapters.providers.by_model import ModelProviders
from services.generator.adapters.providers.comfyui import ComfyUIProvider
from services.generator.adapters.providers.comfyui_v2 import ComfyUIV2Provider
from services.generator.adapters.providers.diffusers import DiffusersProvider
from services.generator.adapters.providers.fal import FalProvider
from services.generator.adapters.providers.gemini import GeminiProvider
from services.generator.adapters.providers.generic import GenericProvider
from services.generator.adapters.providers.huggingface import HuggingFaceProvider
from services.generator.adapters.providers.openai import OpenAIProvider
from services.generator.adapters.providers.procedural import ProceduralProvider
from services.generator.adapters.providers.remote import RemoteProvider
from services.generator.adapters.providers.replicate import ReplicateProvider
from services.generator.adapters.providers.stability import StabilityProvider
from services.generator.adapters.rendering import Renderers

Provider = ProceduralProvider | DiffusersProvider | RemoteProvider | ModelProviders

#: Adapters behind HTTP, by the entry that each is made of.
_REMOTE: Mapping[type[entries.RemoteEntry], Callable[..., RemoteProvider]] = {
    entries.AzureOpenAIEntry: AzureOpenAIProvider,
    entries.BedrockEntry: BedrockProvider,
    entries.A1111Entry: A1111Provider,
    entries.BFLEntry: BFLProvider,
    entries.ComfyUIEntry: ComfyUIProvider,
    entries.FalEntry: FalProvider,
    entries.GeminiEntry: GeminiProvider,
    entries.GenericEntry: GenericProvider,
    entries.HuggingFaceEntry: HuggingFaceProvider,
    entries.OpenAIEntry: OpenAIProvider,
    entries.ReplicateEntry: ReplicateProvider,
    entries.StabilityEntry: StabilityProvider,
}


def build(entry: Any, *, environ: Mapping[str, str], renderers: Renderers, decoder: DecodingProcesses) -> Provider:
    """The adapter of an entry. Raises `ConfigError`."""
    match entry:
        case entries.ProceduralEntry():
            return ProceduralProvider(entry, renderers)
        case entries.DiffusersEntry():
            return DiffusersProvider(entry.model_copy(update={"settings": entry.settings_of(entry.model)}), decoder)
        case _:
            return _by_model(entry, environ=environ)


def remote_provider(
    entry: entries.RemoteEntry,
    *,
    environ: Mapping[str, str],
    transport: httpx.AsyncBaseTransport | None = None,
) -> RemoteProvider:
    """The adapter of an entry behind HTTP. Raises `ConfigError`."""
    of_kind = _REMOTE[type(entry)]
    if isinstance(entry, entries.ComfyUIEntry) and entry.settings.api == "v2":
        of_kind = ComfyUIV2Provider
    return of_kind(entry, api_key=entry.api_key(environ), transport=transport)


def _by_model(entry: entries.RemoteEntry, *, environ: Mapping[str, str]) -> RemoteProvider | ModelProviders:
    """One adapter where the entry has one model; of several, each may take something else."""
    whole = remote_provider(entry, environ=environ)
    if len(entry.models) < 2 and not any(model.settings for model in entry.models):
        return whole
    adapters = {one.name: remote_provider(entry.narrowed_to(one), environ=environ) for one in entry.models}
    return ModelProviders(whole, adapters)
