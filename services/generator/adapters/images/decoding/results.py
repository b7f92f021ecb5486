"""What a decoding process has seen of an image, as far as it is believed."""

import re
from dataclasses import dataclass
from typing import Any

#: Turn of EXIF's that changes nothing.
UPRIGHT = 1
_TYPES = ("image/png", "image/jpeg", "image/webp")
#: 4 by 3 components in base 83.
_BLURHASH = re.compile(r"[0-9A-Za-z#$%*+,\-.:;=?@\[\]^_{|}~]{28}")


@dataclass(frozen=True, kw_only=True)
class Look:
    """Sides in pixels as the image is shown, `turn` as in EXIF; no preview where none can be made."""

    content_type: str
    width: int
    height: int
    turn: int
    blurhash: str | None


def look_of(told: Any) -> Look | None:
    """What a process told, where it is of this form: it has handled bytes that nobody knows."""
    match told:
        case {
            "content_type": str(content_type),
            "width": int(width),
            "height": int(height),
            "turn": int(turn),
            "blurhash": str() | None as blurhash,
        } if content_type in _TYPES and min(width, height, turn) > 0:
            if blurhash is not None and not _BLURHASH.fullmatch(blurhash):
                return None
            return Look(content_type=content_type, width=width, height=height, turn=turn, blurhash=blurhash)
        case _:
            return None
