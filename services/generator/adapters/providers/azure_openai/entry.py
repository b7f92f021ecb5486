"""Provider-file entry of the kind `azure_openai`."""

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from services.generator.adapters.providers.openai.entry import ImagesAPIEntry, OpenAISettings

_OF_AZURE = re.compile(r"\.(?:openai|cognitiveservices|services\.ai)\.azure\.(?:com|us|cn)$")
V1 = "/openai/v1"


class AzureOpenAISettings(OpenAISettings):
    """The settings of the kind `openai`, and the credential for the Azure resource."""

    auth: Literal["key", "token", "identity"] = "key"
    """`key`: a key of the resource. `token`: a Microsoft Entra token in `api_key_file`, which another process renews.
    `identity`: tokens of this process's identity in Azure."""
    scope: str = Field(default="https://cognitiveservices.azure.com/.default", pattern=r"^[!-~]{1,500}$")
    """Scope that tokens of `identity` are requested for; clouds other than the public one have their own."""


class AzureOpenAIEntry(ImagesAPIEntry):
    """Deployments of an Azure OpenAI resource, through its v1 API; a model is the name of a deployment."""

    kind: Literal["azure_openai"]
    """The kind of the provider."""
    settings: AzureOpenAISettings = AzureOpenAISettings()
    """Settings of the kind."""

    @model_validator(mode="after")
    def _address_fits(self) -> "AzureOpenAIEntry":
        if self.base_url is None:
            raise ValueError(f"base_url is required: https://RESOURCE.openai.azure.com{V1}")
        parts = urlsplit(self.base_url)
        if _OF_AZURE.search(parts.hostname or "") and parts.path.rstrip("/") != V1:
            raise ValueError(f"base_url must end in {V1}: the model names the deployment, not the address")
        return self

    @model_validator(mode="after")
    def _credential_fits(self) -> "AzureOpenAIEntry":
        match self.settings.auth:
            case "token" if self.api_key_file is None:
                raise ValueError("settings.auth: token needs api_key_file, which is read again for every new token")
            case "identity" if self.api_key_file or self.api_key_env:
                raise ValueError("settings.auth: identity excludes api_key_env and api_key_file")
        return self

    @property
    def variables(self) -> frozenset[str]:
        """Environment variables of the key, or those by which azure-identity finds this process's identity."""
        identity = frozenset({"AZURE_*", "IDENTITY_*", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"})
        return identity if self.settings.auth == "identity" else super().variables

    def api_key(self, environ: Mapping[str, str]) -> str:
        """Returns the key or token; empty with `auth: identity`. Raises `ConfigError`."""
        return "" if self.settings.auth == "identity" else super().api_key(environ)
