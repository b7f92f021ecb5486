"""Image providers, one file each: what differs is in the file, and nothing of it is known outside.

`build` is the one place that knows which kinds there are.
"""

from collections.abc import Mapping

from services.generator.adapters.provider_entries import (
    BFLEntry,
    ComfyUIEntry,
    FalEntry,
    DiffusersEntry,
    OpenAIEntry,
    ProceduralEntry,
    ProviderEntry,
    ReplicateEntry,
    StabilityEntry,
)
from services.generator.adapters.providers.bfl import BFLProvider
from services.generator.adapters.providers.comfyui import ComfyUIProvider
from services.generator.adapters.providers.fal import FalProvider
from services.generator.adapters.providers.diffusers import DiffusersProvider
from services.generator.adapters.providers.openai import OpenAIProvider
from services.generator.adapters.providers.procedural import ProceduralProvider
from services.generator.adapters.providers.replicate import ReplicateProvider
from services.generator.adapters.providers.stability import StabilityProvider
from services.generator.adapters.rendering import Renderers

Provider = (
    ProceduralProvider
    | ReplicateProvider
    | OpenAIProvider
    | StabilityProvider
    | BFLProvider
    | FalProvider
    | ComfyUIProvider
Provider = ProceduralProvider | ReplicateProvider | OpenAIProvider | DiffusersProvider


def build(entry: ProviderEntry, *, environ: Mapping[str, str], renderers: Renderers) -> Provider:
    """The adapter of an entry. Raises `ConfigError`."""
    match entry:
        case ProceduralEntry():
            return ProceduralProvider(entry, renderers)
        case ReplicateEntry():
            return ReplicateProvider(entry, api_key=entry.api_key(environ))
        case OpenAIEntry():
            return OpenAIProvider(entry, api_key=entry.api_key(environ))
        case StabilityEntry():
            return StabilityProvider(entry, api_key=entry.api_key(environ))
        case BFLEntry():
            return BFLProvider(entry, api_key=entry.api_key(environ))
        case FalEntry():
            return FalProvider(entry, api_key=entry.api_key(environ))
        case ComfyUIEntry():
            return ComfyUIProvider(entry, api_key=entry.api_key(environ))
        case DiffusersEntry():
            return DiffusersProvider(entry)
