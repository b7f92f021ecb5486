"""Input images of a call: which of them is the mask, and how they are written for a vendor."""

import base64
from collections.abc import Awaitable
from dataclasses import dataclass

from services.generator.domain.provider_results import Acceptance, ProviderError, StageError
from services.generator.ports import Order

#: What is none that anybody here knows.
UNKNOWN = "application/octet-stream"
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"), (b"GIF8", "image/gif"))


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The input images of a call in their order, and its mask."""

    images: tuple[bytes, ...]
    mask: bytes | None


def of_order(order: Order) -> Pictures:
    """The pictures of a call: the mask, where there is one, comes last among its inputs."""
    has_mask = any(image.index < 0 for image in order.request.inputs)
    images = order.inputs[:-1] if has_mask else order.inputs
    return Pictures(images=images, mask=order.inputs[-1] if has_mask else None)


def content_type(data: bytes) -> str:
    """What a picture is, by its first bytes."""
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), UNKNOWN)


def file_of(name: str, data: bytes) -> tuple[str, bytes, str]:
    """A picture as the file of a form: its name, bytes and type."""
    kind = content_type(data)
    return f"{name}.{kind.rpartition('/')[2]}", data, kind


def encoded(data: bytes) -> str:
    """A picture as base64."""
    return base64.b64encode(data).decode()


def data_uri(data: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:{content_type(data)};base64,{encoded(data)}"


async def converted(converting: Awaitable[bytes]) -> bytes:
    """A picture in another form. Raises `ProviderError` where it cannot be converted; nothing was sent."""
    try:
        return await converting
    except StageError as error:
        raise ProviderError(
            code=error.code,
            reason="INVALID_INPUT" if error.reason == "INVALID_IMAGE" else error.reason,
            message=f"An input image could not be converted. {error.message}",
            retryable=error.retryable,
            acceptance=Acceptance.NOT_ACCEPTED,
        ) from error


def not_taken(name: str, model: str, what: str) -> ProviderError:
    """Pictures that the model would not be given; nothing was sent."""
    return ProviderError(
        code="PERMANENT",
        reason="UNSUPPORTED",
        message=f"{name} cannot give {model[:100]} {what}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
