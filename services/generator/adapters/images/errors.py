"""Why bytes are no image that is taken, for whoever reads them and whoever decodes them."""

from services.generator.domain.provider_results import StageError

MOST_PIXELS = 50_000_000
LONGEST_SIDE = 16_384
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def looks_like_image(data: bytes) -> bool:
    """Whether bytes begin as an image that is delivered does."""
    return data.startswith((_PNG, _JPEG)) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


def not_an_image() -> StageError:
    """What came is no picture that browsers show."""
    return _permanent(
        "INVALID_IMAGE", "The provider returned something that is not a PNG, JPEG or WebP image that decodes."
    )


def too_large(most_bytes: int) -> StageError:
    """What came has too many bytes."""
    return _permanent("TOO_LARGE", f"The image is larger than {most_bytes // (1024 * 1024)} MiB.")


def too_many_pixels() -> StageError:
    """Its header tells of too many pixels."""
    return _permanent("TOO_LARGE", f"The image has more than {MOST_PIXELS:,} pixels or a side over {LONGEST_SIDE:,}.")


def needs_too_much_memory() -> StageError:
    """It cannot be decoded in the memory that there is for one image."""
    return _permanent("TOO_LARGE", "The image needs more memory to be decoded than one image may.")


def undecodable() -> StageError:
    """The process that decoded it died, or was ended because that took too long."""
    return _permanent(
        "INVALID_IMAGE", "The image could not be decoded: the process that tried did not live to its end."
    )


def decoding_unavailable() -> StageError:
    """No process to decode with can be started; this says nothing about the image."""
    return StageError(
        code="TEMPORARY",
        reason="SERVICE_UNAVAILABLE",
        message="The image could not be looked at, because no process for that could be started.",
        retryable=True,
    )


def _permanent(reason: str, message: str) -> StageError:
    return StageError(code="PERMANENT", reason=reason, message=message, retryable=False)
