"""What a provider file may say, one module per kind; secrets are read from where it says.

For the adapters alone: each kind's adapter takes its entry.
"""

from typing import Annotated

from pydantic import Field, model_validator

from services.generator.adapters.provider_entries.a1111 import A1111Entry, A1111Settings
from services.generator.adapters.provider_entries.azure_openai import AzureOpenAIEntry, AzureOpenAISettings
from services.generator.adapters.provider_entries.bedrock import BedrockEntry, BedrockSettings
from services.generator.adapters.provider_entries.bfl import BFLEntry, BFLSettings
from services.generator.adapters.provider_entries.comfyui import ComfyUIEntry, ComfyUISettings
from services.generator.adapters.provider_entries.diffusers import DiffusersEntry, DiffusersSettings, Lora
from services.generator.adapters.provider_entries.fal import FalEntry, FalSettings
from services.generator.adapters.provider_entries.gemini import GeminiEntry, GeminiSettings
from services.generator.adapters.provider_entries.generic import GenericEntry, GenericField, GenericSettings
from services.generator.adapters.provider_entries.huggingface import HuggingFaceEntry, HuggingFaceSettings
from services.generator.adapters.provider_entries.model_inputs import InputField, ModelInputs
from services.generator.adapters.provider_entries.openai import (
    IMAGE,
    Edits,
    ImagesAPIEntry,
    OpenAIEntry,
    OpenAIField,
    OpenAISettings,
)
from services.generator.adapters.provider_entries.procedural import ProceduralEntry
from services.generator.adapters.provider_entries.replicate import ReplicateEntry, ReplicateSettings
from services.generator.adapters.provider_entries.shared import Defaults, ModelEntry, RemoteEntry, Strict, TokenPrices
from services.generator.adapters.provider_entries.stability import StabilityEntry, StabilitySettings

__all__ = [
    "IMAGE",
    "KINDS",
    "A1111Entry",
    "A1111Settings",
    "AzureOpenAIEntry",
    "AzureOpenAISettings",
    "BFLEntry",
    "BFLSettings",
    "BedrockEntry",
    "BedrockSettings",
    "ComfyUIEntry",
    "ComfyUISettings",
    "Defaults",
    "DiffusersEntry",
    "DiffusersSettings",
    "Edits",
    "FalEntry",
    "FalSettings",
    "GeminiEntry",
    "GeminiSettings",
    "GenericEntry",
    "GenericField",
    "GenericSettings",
    "HuggingFaceEntry",
    "HuggingFaceSettings",
    "ImagesAPIEntry",
    "InputField",
    "Lora",
    "ModelEntry",
    "ModelInputs",
    "OpenAIEntry",
    "OpenAIField",
    "OpenAISettings",
    "ProceduralEntry",
    "ProviderEntry",
    "ProviderFile",
    "RemoteEntry",
    "ReplicateEntry",
    "ReplicateSettings",
    "StabilityEntry",
    "StabilitySettings",
    "TokenPrices",
]

ProviderEntry = (
    ProceduralEntry
    | ReplicateEntry
    | OpenAIEntry
    | AzureOpenAIEntry
    | GeminiEntry
    | StabilityEntry
    | BFLEntry
    | FalEntry
    | ComfyUIEntry
    | A1111Entry
    | DiffusersEntry
    | HuggingFaceEntry
    | BedrockEntry
    | GenericEntry
)
KINDS = (
    "procedural",
    "replicate",
    "openai",
    "azure_openai",
    "gemini",
    "stability",
    "bfl",
    "fal",
    "comfyui",
    "a1111",
    "diffusers",
    "huggingface",
    "bedrock",
    "generic",
)


class ProviderFile(Strict):
    """The whole file."""

    default: str | None = None
    providers: tuple[Annotated[ProviderEntry, Field(discriminator="kind")], ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _names_fit(self) -> "ProviderFile":
        names = [one.name for one in self.providers]
        if len(set(names)) != len(names):
            raise ValueError("two providers have the same name")
        if self.default is not None and self.default not in names:
            raise ValueError(f"default names {self.default!r}, which is not among the providers")
        return self

    @property
    def default_name(self) -> str:
        """The provider of jobs that name none."""
        return self.default or self.providers[0].name
