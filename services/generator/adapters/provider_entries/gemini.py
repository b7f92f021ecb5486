"""Entries of the kind `gemini`."""

from typing import Literal

from pydantic import Field

from services.generator.adapters.provider_entries.shared import Ratio, RemoteEntry, Strict


class GeminiSettings(Strict):
    """What the models of the entry take; the first values are those of all image models."""

    aspect_ratios: tuple[Ratio, ...] = (
        "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9",
    )  # fmt: skip
    #: The vendor's image sizes, such as 1K, 2K and 4K, for models that let it be chosen.
    qualities: tuple[str, ...] = ()
    #: Whether the model makes the same image of the same seed again.
    seed: bool = False
    max_input_images: int = Field(default=8, ge=0, le=8)


class GeminiEntry(RemoteEntry):
    """Models that answer `generateContent` with images."""

    kind: Literal["gemini"]
    settings: GeminiSettings = GeminiSettings()
