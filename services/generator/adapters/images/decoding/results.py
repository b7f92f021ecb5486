"""Validation of an image's properties as a decoding process reports them."""

import re
from dataclasses import dataclass
from typing import Any

#: EXIF orientation of an image that needs no rotation.
UPRIGHT = 1
_TYPES = ("image/png", "image/jpeg", "image/webp")
#: 4 by 3 components in base 83.
_BLURHASH = re.compile(r"[0-9A-Za-z#$%*+,\-.:;=?@\[\]^_{|}~]{28}")


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Properties of a decoded image."""

    #: Media type.
    content_type: str
    #: Width in pixels as the image is shown, after EXIF rotation.
    width: int
    #: Height in pixels as the image is shown, after EXIF rotation.
    height: int
    #: EXIF orientation, 1 to 8.
    turn: int
    #: BlurHash; None when it cannot be computed.
    blurhash: str | None


def inspection_of(report: Any) -> Inspection | None:
    """Returns the properties that a process reported; None for a malformed report, as it handled untrusted bytes."""
    match report:
        case {
            "content_type": str(content_type),
            "width": int(width),
            "height": int(height),
            "turn": int(turn),
            "blurhash": str() | None as blurhash,
        } if content_type in _TYPES and min(width, height, turn) > 0:
            if blurhash is not None and not _BLURHASH.fullmatch(blurhash):
                return None
            return Inspection(content_type=content_type, width=width, height=height, turn=turn, blurhash=blurhash)
        case _:
            return None
