"""Rotation of images by their EXIF orientation, which cameras write and providers ignore."""

import io

from PIL import ExifTags, Image

from services.generator.adapters.images.decoding.pixels import decoded

#: EXIF orientation of an image that needs no rotation.
UPRIGHT = 1
#: EXIF orientations, and how the image is transposed. Other tags are not read: they may be damaged.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Orientations that exchange width and height.
SIDEWAYS = frozenset({5, 6, 7, 8})
#: As high as cameras use: a larger file rather than a worse image.
JPEG_QUALITY = 95


def turn_of(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; `UPRIGHT` when there is none that can be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001 - damaged EXIF is ignored, and no reason to refuse an image
        return UPRIGHT
    return orientation if isinstance(orientation, int) and orientation in _TURNS else UPRIGHT


def turned(image: Image.Image, turn: int) -> Image.Image:
    """Returns the image rotated and mirrored by an EXIF orientation."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def rewritten(data: bytes) -> bytes:
    """Returns the image rotated by its EXIF orientation and encoded again: pixels and colour profile only.

    Raises as `pixels.decoded`, and the errors of Pillow's encoders.
    """
    image = decoded(data)
    turn, original_format, info = turn_of(image), image.format, image.info
    image, original = turned(image, turn), image
    if turn != UPRIGHT:
        # The decoder's copy is as large as the pixels.
        original.close()
    del original
    # Pillow would write comments and the like, too.
    image.info = {name: info[name] for name in ("transparency",) if name in info}
    file = io.BytesIO()
    # Of several images in a file only the first is written. Each format ignores the options of the others.
    image.save(
        file,
        format="JPEG" if original_format == "MPO" else original_format,
        icc_profile=info.get("icc_profile"),
        quality=0 if original_format == "WEBP" else JPEG_QUALITY,
        subsampling=0,
        lossless=True,
        # For WebP: better compression would take four times the memory, and minutes.
        method=0,
    )
    return file.getvalue()
