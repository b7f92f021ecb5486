"""The schema of the whole provider file: the union of every kind's entry.

Only adapters use it: each kind's adapter is built from its entry.
"""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from services.generator.adapters.providers.a1111.entry import A1111Entry
from services.generator.adapters.providers.azure_openai.entry import AzureOpenAIEntry
from services.generator.adapters.providers.bedrock.entry import BedrockEntry
from services.generator.adapters.providers.bfl.entry import BFLEntry
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.diffusers.entry import DiffusersEntry
from services.generator.adapters.providers.entry_fields import Strict
from services.generator.adapters.providers.fal.entry import FalEntry
from services.generator.adapters.providers.gemini.entry import GeminiEntry
from services.generator.adapters.providers.generic.entry import GenericEntry
from services.generator.adapters.providers.huggingface.entry import HuggingFaceEntry
from services.generator.adapters.providers.openai.entry import OpenAIEntry
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
    """The whole provider file."""

    default: str | None = None
    """Name of the provider of jobs that name none; left out, it is the first of `providers`."""
    providers: tuple[Annotated[ProviderEntry, Field(discriminator="kind")], ...] = Field(min_length=1, max_length=64)
    """The entries, 1 to 64, each with its own name."""

    @model_validator(mode="after")
    def _names_fit(self) -> "ProviderFile":
        names = [entry.name for entry in self.providers]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise _problem(f"another provider has the name {name}; each needs its own", "providers", number, "name")
        if self.default is not None and self.default not in names:
            message = f"default names {self.default!r}, which is not among the providers: {', '.join(names)}"
            raise _problem(message, "default")
        return self

    @model_validator(mode="after")
    def _aliases_fit(self) -> "ProviderFile":
        taken = {entry.name: "a provider" for entry in self.providers}
        for number, entry in enumerate(self.providers):
            for alias, model in entry.aliases.items():
                place = ("providers", number, "aliases", alias)
                if alias in taken:
                    raise _problem(f"{alias} is already the name of {taken[alias]}", *place)
                if model not in (entry.model, *entry.model_names):
                    raise _problem(f"names {model!r}; the models are {', '.join(entry.model_names)[:1000]}", *place)
                taken[alias] = f"a model of {entry.name}"
        return self

    @property
    def default_name(self) -> str:
        """The provider of jobs that name none."""
        return self.default or self.providers[0].name


def _problem(message: str, *location: str | int) -> PydanticCustomError:
    """A mistake that a check of the whole file finds at one place in it."""
    return PydanticCustomError("provider_file", "{message}", {"message": message, "location": location})
