"""Schemas of OpenAI's Images and Models API: the fields that this service reads and returns."""

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
    """Returns a validator for a parameter without effect here: it accepts only null and these neutral values."""

    def check(value: Any) -> Any:
        if value is not None and (isinstance(value, bool) or value not in defaults):
            raise refused("This service does not support it. Leave it out.")
        return value

    return BeforeValidator(check)


def _one_line() -> StringConstraints:
    return StringConstraints(min_length=1, max_length=128, pattern=ONE_LINE)


_Unsupported = Annotated[None, _default()]


class ImageParameters(Body):
    """The parameters of both calls; null means the same as leaving a parameter out."""

    prompt: Prompt
    """What the images should show; 1 to 32,000 characters."""
    model: (
        Annotated[str, StringConstraints(max_length=300, pattern=r"^[^/\s\x00-\x1f\x7f]+(/[^\x00-\x1f\x7f]+)?$")] | None
    ) = None
    """`<provider>` or `<provider>/<model>`, as GET /v1/models lists them; null: the default provider."""
    n: Annotated[int, Field(ge=1, le=10), WHOLE] | None = None
    """Number of images, 1 to 10; null: 1."""
    size: Annotated[str, StringConstraints(pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")] | None = None
    """Width and height in pixels, such as `1024x768`; `auto` or null: the provider decides."""
    quality: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=ONE_LINE)] | None = None
    """A quality that the provider offers; `auto` or null: the provider decides."""
    output_format: OutputFormat | None = None
    """File format of the images; null: the provider decides."""
    background: Background | None = None
    """`transparent` or `opaque`; `auto` or null: the provider decides."""
    output_compression: Compression | None = None
    """Quality of jpeg and webp from 0 to 100; 100 compresses least. Null: the provider decides."""
    moderation: Moderation | None = None
    """`low` makes the provider's filter less strict; `auto` or null: its usual filter."""
    input_fidelity: InputFidelity | None = None
    """`high` keeps the input images more closely; `low` is the default."""
    response_format: Literal["url", "b64_json"] | None = None
    """`url` or `b64_json`; null: `url`. A stream always sends `b64_json`."""
    stream: bool | None = None
    """Whether the response is a stream of server-sent events; null: false."""
    user: Annotated[str, _one_line()] | None = None
    """Id of your end user; becomes the job's `end_user`."""
    safety_identifier: Annotated[str, _one_line()] | None = None
    """The newer name of `user`, and used instead of it if both are sent."""
    partial_images: Annotated[Literal[0] | None, _default(0)] = None
    """Only 0 or null: this service sends no partial images."""
    style: _Unsupported = None
    """Not supported; only null is accepted."""
    complexity: _Unsupported = None
    """Not supported; only null is accepted."""
    frame_count: _Unsupported = None
    """Not supported; only null is accepted."""
    frame_duration_ms: _Unsupported = None
    """Not supported; only null is accepted."""
    svg: _Unsupported = None
    """Not supported; only null is accepted."""


class ImageView(View):
    """One image."""

    url: str | None
    """Public URL of the image; null if `b64_json` is set."""
    b64_json: str | None
    """The image file in base64; null if `url` is set."""
    revised_prompt: str | None
    """The prompt as the provider changed it; null if it did not say so."""


class ImagesView(View):
    """The images of a job."""

    created: int
    """When the job was completed, in seconds since 1970."""
    data: list[ImageView]
    """The images, in the order of their index."""
    output_format: str | None
    """File format of the first image, such as `png`."""
    size: str | None
    """Width and height of the first image in pixels, such as `1024x768`."""


class TokenDetailsView(View):
    """Always zero, as for `UsageView`."""

    text_tokens: int = 0
    """Always 0."""
    image_tokens: int = 0
    """Always 0."""


class UsageView(View):
    """Always zero, as not all providers count tokens; the cost of a job is in GET /v1/jobs/{id}."""

    input_tokens: int = 0
    """Always 0."""
    output_tokens: int = 0
    """Always 0."""
    total_tokens: int = 0
    """Always 0."""
    input_tokens_details: TokenDetailsView = TokenDetailsView()
    """All values are 0."""


class CompletedView(View):
    """The event of one image in a stream."""

    type: Literal["image_generation.completed", "image_edit.completed"]
    """Name of the event."""
    b64_json: str
    """The image file in base64."""
    created_at: int
    """When the job was completed, in seconds since 1970."""
    size: str
    """Width and height in pixels, such as `1024x768`."""
    quality: str
    """As requested; `auto` if not."""
    background: str
    """As requested; `auto` if not."""
    output_format: str
    """File format, such as `png`."""
    usage: UsageView
    """All values are 0."""


class OpenAIModelView(View):
    """A provider, or one of its models."""

    id: str
    """The value for the parameter `model`: `<provider>` or `<provider>/<model>`."""
    object: Literal["model"]
    """Always `model`."""
    created: int
    """Always 0: the time is unknown."""
    owned_by: str
    """Kind of the provider, such as `openai`."""


class ModelList(View):
    """All providers, and all models that they list."""

    object: Literal["list"]
    """Always `list`."""
    data: list[OpenAIModelView]
    """Each provider, followed by its models."""


class OpenAIError(View):
    """Why a request failed."""

    message: str
    """What went wrong, for people."""
    type: str
    """Class of the error, such as `invalid_request_error`; OpenAI's clients read it."""
    param: str | None
    """The invalid parameter; null if the error is not about one."""
    code: str
    """Cause of the error for programs, such as `invalid_value`."""
    job_id: str | None
    """The job that is still running or has failed; null if there is none."""


class OpenAIErrorBody(View):
    """An error response."""

    error: OpenAIError
    """The error."""


#: How the texts of a form are converted before they are validated like JSON; others stay text.
FORM_KINDS: dict[str, Callable[[str], Any]] = {
    "n": int,
    "output_compression": int,
    "partial_images": int,
    "stream": {"true": True, "false": False}.__getitem__,
}
