"""Builds the adapter of an entry: the only module that knows every kind's adapter."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Union

import httpx

from services.generator.adapters.images.decoding.processes import DecodingProcesses
from services.generator.adapters.providers.a1111.entry import A1111Entry
from services.generator.adapters.providers.a1111.provider import A1111Provider
from services.generator.adapters.providers.azure_openai.entry import AzureOpenAIEntry
from services.generator.adapters.providers.azure_openai.provider import AzureOpenAIProvider
from services.generator.adapters.providers.bedrock.entry import BedrockEntry
from services.generator.adapters.providers.bedrock.provider import BedrockProvider
from services.generator.adapters.providers.bfl.entry import BFLEntry
from services.generator.adapters.providers.bfl.provider import BFLProvider
from services.generator.adapters.providers.by_model import ModelProviders
from services.generator.adapters.providers.comfyui.api_v2 import ComfyUIV2Provider
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.comfyui.provider import ComfyUIProvider
from services.generator.adapters.providers.diffusers.entry import DiffusersEntry
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.fal.entry import FalEntry
from services.generator.adapters.providers.fal.provider import FalProvider
from services.generator.adapters.providers.gemini.entry import GeminiEntry
from services.generator.adapters.providers.gemini.provider import GeminiProvider
from services.generator.adapters.providers.generic.entry import GenericEntry
from services.generator.adapters.providers.generic.provider import GenericProvider
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.huggingface.entry import HuggingFaceEntry
from services.generator.adapters.providers.huggingface.provider import HuggingFaceProvider
from services.generator.adapters.providers.openai.entry import OpenAIEntry
from services.generator.adapters.providers.openai.provider import OpenAIProvider
from services.generator.adapters.providers.procedural.entry import ProceduralEntry
from services.generator.adapters.providers.procedural.process_pool import Renderers
from services.generator.adapters.providers.procedural.provider import ProceduralProvider
from services.generator.adapters.providers.replicate.entry import ReplicateEntry
from services.generator.adapters.providers.replicate.provider import ReplicateProvider
from services.generator.adapters.providers.stability.entry import StabilityEntry
from services.generator.adapters.providers.stability.provider import StabilityProvider

if TYPE_CHECKING:
    from services.generator.adapters.providers.diffusers.provider import DiffusersProvider

Provider = Union["DiffusersProvider", ProceduralProvider, RemoteProvider, ModelProviders]

#: Adapters that call an API over HTTP, by their entry.
_REMOTE: Mapping[type[RemoteEntry], Callable[..., RemoteProvider]] = {
    AzureOpenAIEntry: AzureOpenAIProvider,
    BedrockEntry: BedrockProvider,
    A1111Entry: A1111Provider,
    BFLEntry: BFLProvider,
    ComfyUIEntry: ComfyUIProvider,
    FalEntry: FalProvider,
    GeminiEntry: GeminiProvider,
    GenericEntry: GenericProvider,
    HuggingFaceEntry: HuggingFaceProvider,
    OpenAIEntry: OpenAIProvider,
    ReplicateEntry: ReplicateProvider,
    StabilityEntry: StabilityProvider,
}


def build(entry: Any, *, environ: Mapping[str, str], renderers: Renderers, decoder: DecodingProcesses) -> Provider:
    """Returns the adapter of an entry. Raises `ConfigError` for a missing key, library, model or file."""
    match entry:
        case ProceduralEntry():
            return ProceduralProvider(entry, renderers)
        case DiffusersEntry():
            # Imported only where an entry has this kind: it needs Pillow in this process.
            from services.generator.adapters.providers.diffusers.provider import DiffusersProvider

            return DiffusersProvider(entry.model_copy(update={"settings": entry.settings_of(entry.model)}), decoder)
        case _:
            return _by_model(entry, environ=environ)


def remote_provider(
    entry: RemoteEntry,
    *,
    environ: Mapping[str, str],
    transport: httpx.AsyncBaseTransport | None = None,
) -> RemoteProvider:
    """Returns the adapter of an entry of a kind with HTTP. Raises `ConfigError`. `transport` is for tests."""
    adapter = _REMOTE[type(entry)]
    if isinstance(entry, ComfyUIEntry) and entry.settings.api == "v2":
        adapter = ComfyUIV2Provider
    return adapter(entry, api_key=entry.api_key(environ), transport=transport)


def _by_model(entry: RemoteEntry, *, environ: Mapping[str, str]) -> RemoteProvider | ModelProviders:
    """Returns one adapter for an entry with one model, else one for each model, because their settings may differ."""
    whole = remote_provider(entry, environ=environ)
    if len(entry.models) < 2 and not any(model.settings for model in entry.models):
        return whole
    adapters = {item.name: remote_provider(entry.narrowed_to(item), environ=environ) for item in entry.models}
    return ModelProviders(whole, adapters)
