"""Entries of the kind `bfl`."""

from typing import Literal

from pydantic import Field

from services.generator.adapters.provider_entries.shared import OutputFormat, Ratio, RemoteEntry, Strict


class BFLSettings(Strict):
    """What the models of the entry take; the first values are those of FLUX.2 pro, max and flex."""

    #: Where any is named, the models take a ratio, and no sides.
    aspect_ratios: tuple[Ratio, ...] = ()
    min_side: int = Field(default=64, ge=1)
    #: No picture of two such sides is over the four megapixels beyond which the vendor makes it smaller.
    max_side: int = Field(default=2048, ge=1)
    side_multiple: int = Field(default=16, ge=1)
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg")
    max_input_images: int = Field(default=8, ge=0, le=8)


class BFLEntry(RemoteEntry):
    """The API of Black Forest Labs."""

    kind: Literal["bfl"]
    settings: BFLSettings = BFLSettings()
