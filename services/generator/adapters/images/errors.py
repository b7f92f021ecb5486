"""Errors of images that are not accepted, for the code that reads images and the code that decodes them."""

from calotype.error_reasons import Code, Reason
from calotype.size_limits import MAX_PIXELS, MAX_SIDE

from services.generator.domain.provider_results import StageError

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def looks_like_image(data: bytes) -> bool:
    """Returns whether data begins like a PNG, JPEG or WebP image."""
    return data.startswith((_PNG, _JPEG)) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


def not_an_image() -> StageError:
    """Returns the error for data that is no image that browsers show."""
    return _permanent(
        Reason.INVALID_IMAGE, "The provider returned something that is not a PNG, JPEG or WebP image that decodes."
    )


def too_large(max_bytes: int) -> StageError:
    """Returns the error for an image with more than `max_bytes`."""
    return _permanent(Reason.TOO_LARGE, f"The image is larger than {max_bytes // (1024 * 1024)} MiB.")


def too_many_pixels() -> StageError:
    """Returns the error for an image whose header announces too many pixels."""
    return _permanent(Reason.TOO_LARGE, f"The image has more than {MAX_PIXELS:,} pixels or a side over {MAX_SIDE:,}.")


def needs_too_much_memory() -> StageError:
    """Returns the error for an image that cannot be decoded in the memory for one image."""
    return _permanent(Reason.TOO_LARGE, "Decoding the image needs more memory than allowed for one image.")


def undecodable() -> StageError:
    """Returns the error for an image whose decoding process died, or was killed after its time limit."""
    return _permanent(
        Reason.INVALID_IMAGE, "The image could not be decoded: the decoding process crashed or exceeded its time limit."
    )


def decoding_unavailable() -> StageError:
    """Returns the error for a decoding process that cannot be started; it says nothing about the image."""
    return StageError(
        code=Code.TEMPORARY,
        reason=Reason.SERVICE_UNAVAILABLE,
        message="The image could not be checked, because no decoding process could be started.",
        retryable=True,
    )


def _permanent(reason: Reason, message: str) -> StageError:
    return StageError(code=Code.PERMANENT, reason=reason, message=message, retryable=False)
