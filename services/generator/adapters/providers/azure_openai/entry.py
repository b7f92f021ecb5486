"""Entries of the kind `azure_openai`."""

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from services.generator.adapters.providers.openai.entry import ImagesAPIEntry, OpenAISettings

_OF_AZURE = re.compile(r"\.(?:openai|cognitiveservices|services\.ai)\.azure\.(?:com|us|cn)$")
V1 = "/openai/v1"


class AzureOpenAISettings(OpenAISettings):
    """What the deployments take, as for the kind `openai`, and what this process shows to the resource."""

    #: `key`: one of the resource's keys. `token`: a file with a token of Microsoft Entra, which somebody else renews.
    #: `identity`: tokens of the identity that this process has in Azure.
    auth: Literal["key", "token", "identity"] = "key"
    #: What tokens are asked for; other clouds have another.
    scope: str = Field(default="https://cognitiveservices.azure.com/.default", pattern=r"^[!-~]{1,500}$")


class AzureOpenAIEntry(ImagesAPIEntry):
    """Deployments of an Azure OpenAI resource, by its v1 API; a model is the name of a deployment."""

    kind: Literal["azure_openai"]
    settings: AzureOpenAISettings = AzureOpenAISettings()

    @model_validator(mode="after")
    def _address_fits(self) -> "AzureOpenAIEntry":
        if self.base_url is None:
            raise ValueError(f"base_url must be given: https://RESOURCE.openai.azure.com{V1}")
        parts = urlsplit(self.base_url)
        if _OF_AZURE.search(parts.hostname or "") and parts.path.rstrip("/") != V1:
            raise ValueError(f"base_url must end in {V1}: the deployment is named by the model, not in the address")
        return self

    @model_validator(mode="after")
    def _credential_fits(self) -> "AzureOpenAIEntry":
        match self.settings.auth:
            case "token" if self.api_key_file is None:
                raise ValueError("settings.auth token needs api_key_file: a token that nobody renews ends within hours")
            case "identity" if self.api_key_file or self.api_key_env:
                raise ValueError("settings.auth identity takes no api_key_env and no api_key_file")
        return self

    @property
    def variables(self) -> frozenset[str]:
        """What azure-identity finds this process's identity by where tokens come from it."""
        of_identity = frozenset({"AZURE_*", "IDENTITY_*", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"})
        return of_identity if self.settings.auth == "identity" else super().variables

    def api_key(self, environ: Mapping[str, str]) -> str:
        """The key or token; empty where tokens come from an identity. Raises `ConfigError`."""
        return "" if self.settings.auth == "identity" else super().api_key(environ)
