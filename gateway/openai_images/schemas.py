"""The shapes of OpenAI's Images and Models API, as far as this service fills them."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from gateway.schemas.requests import (
    ONE_LINE,
    WHOLE,
    Background,
    Body,
    Compression,
    InputFidelity,
    Moderation,
    OutputFormat,
    Prompt,
    refused,
)
from gateway.schemas.wire import View


def _default(*defaults: Any) -> BeforeValidator:
    """A parameter that could not be honoured: fine as long as it asks for nothing."""

    def check(value: Any) -> Any:
        if value is not None and (isinstance(value, bool) or value not in defaults):
            raise refused("This service cannot honour it; leave it out.")
        return value

    return BeforeValidator(check)


def _one_line() -> StringConstraints:
    return StringConstraints(min_length=1, max_length=128, pattern=ONE_LINE)


_Nothing = Annotated[None, _default()]


class ImageParameters(Body):
    """What both calls take; null is the same as left out."""

    prompt: Prompt
    model: (
        Annotated[str, StringConstraints(max_length=300, pattern=r"^[^/\s\x00-\x1f\x7f]+(/[^\x00-\x1f\x7f]+)?$")] | None
    ) = None
    """`<provider>` or `<provider>/<model>`; null: the default provider."""
    n: Annotated[int, Field(ge=1, le=10), WHOLE] | None = None
    size: Annotated[str, StringConstraints(pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")] | None = None
    quality: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=ONE_LINE)] | None = None
    output_format: OutputFormat | None = None
    background: Background | None = None
    output_compression: Compression | None = None
    moderation: Moderation | None = None
    input_fidelity: InputFidelity | None = None
    response_format: Literal["url", "b64_json"] | None = None
    """`url` unless asked otherwise; the events of a stream always bring `b64_json`."""
    stream: bool | None = None
    user: Annotated[str, _one_line()] | None = None
    """Becomes the job's `end_user`."""
    safety_identifier: Annotated[str, _one_line()] | None = None
    """The newer name of `user`; goes before it."""
    partial_images: Annotated[Literal[0] | None, _default(0)] = None
    style: _Nothing = None
    complexity: _Nothing = None
    frame_count: _Nothing = None
    frame_duration_ms: _Nothing = None
    svg: _Nothing = None


class ImageView(View):
    """One picture: its public address, or the picture itself."""

    url: str | None
    b64_json: str | None
    revised_prompt: str | None


class ImagesView(View):
    """The pictures of a job."""

    created: int
    """Seconds since 1970."""
    data: list[ImageView]
    output_format: str | None
    size: str | None


class TokenDetailsView(View):
    """Always zero: providers differ, and costs stand with the job."""

    text_tokens: int = 0
    image_tokens: int = 0


class UsageView(View):
    """Always zero: providers differ, and costs stand with the job."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_tokens_details: TokenDetailsView = TokenDetailsView()


class CompletedView(View):
    """One picture of a stream."""

    type: Literal["image_generation.completed", "image_edit.completed"]
    b64_json: str
    created_at: int
    size: str
    quality: str
    background: str
    output_format: str
    usage: UsageView


class OpenAIModelView(View):
    """A provider, or a model of one, by the name that requests use."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(View):
    """Every provider, and every model that one lists."""

    object: Literal["list"]
    data: list[OpenAIModelView]


class OpenAIError(View):
    """Why the answer is no."""

    message: str
    type: str
    param: str | None
    code: str
    job_id: str | None
    """The job that goes on, or failed, if there is one."""


class OpenAIErrorBody(View):
    """Errors of these calls."""

    error: OpenAIError


#: What a form's texts become before they are checked like JSON.
FORM_KINDS: dict[str, Callable[[str], Any]] = {
    "n": int,
    "output_compression": int,
    "partial_images": int,
    "stream": {"true": True, "false": False}.__getitem__,
}
