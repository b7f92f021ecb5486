"""Properties of an encoded image, by its decoded pixels."""

from typing import Any

from PIL import Image

from services.generator.adapters.images.decoding import blurhash, orientation
from services.generator.adapters.images.decoding.pixels import FORMATS, decoded

_THUMBNAIL = 32


def inspected(data: bytes) -> dict[str, Any]:
    """Returns the fields of `results.Inspection`; unreadable metadata is ignored. Raises as `pixels.decoded`."""
    with decoded(data) as image:
        turn = orientation.turn_of(image)
        width, height = (image.height, image.width) if turn in orientation.SIDEWAYS else (image.width, image.height)
        return {
            "content_type": FORMATS[image.format or ""],
            "width": width,
            "height": height,
            "turn": turn,
            "blurhash": _blurhash(image, turn),
        }


def _blurhash(image: Image.Image, turn: int) -> str | None:
    try:
        # Scaled down first, so that all later steps are cheap for any image size.
        small = _of_eight_bits(image).resize(_within(image.size), reducing_gap=2.0)
        rgba = orientation.turned(small, turn).convert("RGBA")
        # Transparent pixels show white, as on a page.
        flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        return blurhash.encoded(flat.tobytes(), flat.width)
    except Exception:  # noqa: BLE001 - a paid image must not be lost for lack of a placeholder
        return None


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """Returns the image with channels of eight bits, which resizing needs."""
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGBA") if image.mode in ("P", "1", "PA", "LA") else image


def _within(size: tuple[int, int]) -> tuple[int, int]:
    """Returns width and height of the thumbnail in pixels."""
    scale = min(1.0, _THUMBNAIL / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
