"""Pictures the right way up: cameras write how one is to be turned, and vendors do not read it."""

import io

from PIL import ExifTags, Image

from services.generator.adapters.images.decoding.pixels import decoded

UPRIGHT = 1
#: What EXIF says, and how a picture is turned by it. Its other tags are not looked at: they may be damaged.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Turns that change width for height.
SIDEWAYS = frozenset({5, 6, 7, 8})
#: As good as the camera's own; the file grows rather than the picture suffers.
JPEG_QUALITY = 95


def turn_of(image: Image.Image) -> int:
    """How a picture says that it is to be turned; upright where it says nothing that can be read."""
    try:
        told = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001 - damaged EXIF turns nothing, and is no reason to refuse a picture
        return UPRIGHT
    return told if isinstance(told, int) and told in _TURNS else UPRIGHT


def turned(image: Image.Image, turn: int) -> Image.Image:
    """The picture as it is shown."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def rewritten(data: bytes) -> bytes:
    """The image turned as its EXIF says and encoded anew in its format: pixels and their profile alone.

    Raises as `decoding.decoded`, and whatever an encoder does.
    """
    image = decoded(data)
    turn, told, known = turn_of(image), image.format, image.info
    image, original = turned(image, turn), image
    if turn != UPRIGHT:
        # What the decoder holds is as large as the pixels.
        original.close()
    del original
    # Comments and the like would be written, too.
    image.info = {name: known[name] for name in ("transparency",) if name in known}
    written = io.BytesIO()
    # Of several pictures in one file the first is meant. What a format has no use for is not looked at.
    image.save(
        written,
        format="JPEG" if told == "MPO" else told,
        icc_profile=known.get("icc_profile"),
        quality=0 if told == "WEBP" else JPEG_QUALITY,
        subsampling=0,
        lossless=True,
        # Of WebP: better compression would take four times the memory, and minutes.
        method=0,
    )
    return written.getvalue()
