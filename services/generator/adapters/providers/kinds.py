"""What a provider file may say, one module per kind; secrets are read from where it says.

For the adapters alone: each kind's adapter takes its entry.
"""

from typing import Annotated

from pydantic import Field, model_validator

from services.generator.adapters.providers.a1111.entry import A1111Entry
from services.generator.adapters.providers.azure_openai.entry import AzureOpenAIEntry
from services.generator.adapters.providers.bedrock.entry import BedrockEntry
from services.generator.adapters.providers.bfl.entry import BFLEntry
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.diffusers.entry import DiffusersEntry
from services.generator.adapters.providers.entry import Strict
from services.generator.adapters.providers.fal.entry import FalEntry
from services.generator.adapters.providers.gemini.entry import GeminiEntry
from services.generator.adapters.providers.generic.entry import GenericEntry
from services.generator.adapters.providers.huggingface.entry import HuggingFaceEntry
from services.generator.adapters.providers.openai.entry import (
    OpenAIEntry,
)
from services.generator.adapters.providers.procedural.entry import ProceduralEntry
from services.generator.adapters.providers.replicate.entry import ReplicateEntry
from services.generator.adapters.providers.stability.entry import StabilityEntry

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
