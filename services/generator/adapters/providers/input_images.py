"""Input images of a call: which one is the mask, and their form in a request."""

import base64
from collections.abc import Awaitable
from dataclasses import dataclass

from calotype.error_reasons import Code, Reason

from services.generator.domain.provider_results import Acceptance, ProviderError, StageError
from services.generator.ports import ProviderRequest

#: Content type of data that is no known image.
UNKNOWN = "application/octet-stream"
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"), (b"GIF8", "image/gif"))


@dataclass(frozen=True, kw_only=True)
class InputImages:
    """The input images and the mask of a call, as files."""

    images: tuple[bytes, ...]
    """The images, in the order of the request."""
    mask: bytes | None
    """The mask; None without one."""


def of_request(provider_request: ProviderRequest) -> InputImages:
    """Returns the images and the mask of a call; the mask is the last of the inputs, with a negative index."""
    has_mask = any(image.index < 0 for image in provider_request.request.inputs)
    images = provider_request.inputs[:-1] if has_mask else provider_request.inputs
    return InputImages(images=images, mask=provider_request.inputs[-1] if has_mask else None)


def content_type(data: bytes) -> str:
    """Returns the content type of an image by its first bytes, or `UNKNOWN`."""
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), UNKNOWN)


def file_of(name: str, data: bytes) -> tuple[str, bytes, str]:
    """Returns an image as the file of a form: name with extension, bytes, content type."""
    kind = content_type(data)
    return f"{name}.{kind.rpartition('/')[2]}", data, kind


def encoded(data: bytes) -> str:
    """Returns an image as base64."""
    return base64.b64encode(data).decode()


def data_uri(data: bytes) -> str:
    """Returns an image as a data URI."""
    return f"data:{content_type(data)};base64,{encoded(data)}"


async def converted(converting: Awaitable[bytes]) -> bytes:
    """Returns a converted image. Raises `ProviderError` if it cannot be converted; nothing was sent."""
    try:
        return await converting
    except StageError as error:
        raise ProviderError(
            code=error.code,
            reason=Reason.INVALID_INPUT if error.reason == Reason.INVALID_IMAGE else error.reason,
            message=f"An input image could not be converted. {error.message}",
            retryable=error.retryable,
            acceptance=Acceptance.NOT_ACCEPTED,
        ) from error


def images_refused(name: str, model: str, what: str) -> ProviderError:
    """Returns the error of input images that the adapter cannot send; `what` names them; nothing was sent."""
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.UNSUPPORTED,
        message=f"{model[:100]} of {name} does not accept {what}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
