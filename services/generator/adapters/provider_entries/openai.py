"""Entries of the kind `openai`."""

from typing import Literal

from pydantic import Field

from services.generator.adapters.provider_entries.shared import OutputFormat, RemoteEntry, Size, Strict


class OpenAISettings(Strict):
    """What the models of the entry take; the first values are those of the GPT image models."""

    sizes: tuple[Size, ...] = ("1024x1024", "1536x1024", "1024x1536")
    qualities: tuple[str, ...] = ("low", "medium", "high", "auto")
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    max_images_per_call: int = Field(default=10, ge=1, le=10)
    max_input_images: int = Field(default=8, ge=0, le=8)
    #: Sent only where it is set: some models answer with base64 always, and refuse the field.
    response_format: Literal["b64_json", "url"] | None = None


class OpenAIEntry(RemoteEntry):
    """Any server with OpenAI's Images API."""

    kind: Literal["openai"]
    settings: OpenAISettings = OpenAISettings()
