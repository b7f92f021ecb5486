"""Requests and responses of OpenAI's Images and Models API, with the fields that this service supports."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from calotype.size_limits import MAX_END_USER_CHARACTERS, MAX_IMAGES, MAX_QUALITY_CHARACTERS
from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator

from gateway.requests import strict_json
from gateway.schemas.requests import (
    SINGLE_LINE,
    WHOLE,
    AspectRatio,
    Background,
    Body,
    Compression,
    InputFidelity,
    Moderation,
    OutputFormat,
    Prompt,
    ProviderOptions,
    Seed,
    refused,
)
from gateway.schemas.wire import View


def _default(*defaults: Any) -> BeforeValidator:
    """Accepts null and these neutral values of a parameter that this service does not support, and refuses others."""

    def check(value: Any) -> Any:
        if value is not None and (isinstance(value, bool) or value not in defaults):
            raise refused("This service does not support it; leave it out.")
        return value

    return BeforeValidator(check)


def _single_line(longest: int) -> StringConstraints:
    return StringConstraints(min_length=1, max_length=longest, pattern=SINGLE_LINE)


_Nothing = Annotated[None, _default()]
ResponseFormat = Literal["url", "b64_json"]
EventType = Literal["image_generation.completed", "image_edit.completed"]


class ImageParameters(Body):
    """Parameters of both image calls. Only `prompt` is required; null means the same as a field that is left out."""

    prompt: Prompt
    """What to draw; 1 to 32,000 characters."""
    model: (
        Annotated[str, StringConstraints(max_length=300, pattern=r"^[^/\s\x00-\x1f\x7f]+(/[^\x00-\x1f\x7f]+)?$")] | None
    ) = None
    """`<provider>` for its default model, `<provider>/<model>` or an alias; left out: the default provider."""
    n: Annotated[int, Field(ge=1, le=MAX_IMAGES), WHOLE] | None = None
    """Number of images; left out: 1."""
    size: Annotated[str, StringConstraints(pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")] | None = None
    """Width and height in pixels, such as `1024x768`; left out or `auto`: the provider's own choice."""
    quality: Annotated[str, _single_line(MAX_QUALITY_CHARACTERS)] | None = None
    """Quality, by the provider's own name for it; left out or `auto`: the provider's own choice.

    `standard`, an old default of OpenAI's clients, is left out where the provider has no quality of this name.
    """
    output_format: OutputFormat | None = None
    """File format of the images; left out: the provider's own choice."""
    background: Background | None = None
    """Background of the images; `transparent` needs png or webp. Left out or `auto`: the provider's own choice."""
    output_compression: Compression | None = None
    """Quality of jpeg and webp files: 0 is smallest, 100 is least compressed. Left out: the provider's own choice."""
    moderation: Moderation | None = None
    """How strictly the provider moderates; left out or `auto`: the provider's own choice."""
    input_fidelity: InputFidelity | None = None
    """How closely input images are preserved; left out or `low`: the provider's own choice."""
    response_format: ResponseFormat | None = None
    """`url`: public addresses; `b64_json`: the images in base64. Left out: `url`; with `stream` always `b64_json`."""
    stream: bool | None = None
    """True: the response is a stream with one event for each image; left out: false."""
    user: Annotated[str, _single_line(MAX_END_USER_CHARACTERS)] | None = None
    """Your own user, stored as `end_user` of the job; at most 128 characters."""
    safety_identifier: Annotated[str, _single_line(MAX_END_USER_CHARACTERS)] | None = None
    """Newer name of `user`, which it overrides; at most 128 characters."""
    partial_images: Annotated[Annotated[int, Field(ge=0, le=0)] | None, _default(0)] = None
    """Must be 0 or left out: images are sent only when they are finished."""
    style: Annotated[Literal["vivid"] | None, _default("vivid")] = None
    """Must be `vivid`, an old default of OpenAI's clients that has no effect, or left out."""
    complexity: _Nothing = None
    """Not supported; must be null or left out."""
    frame_count: _Nothing = None
    """Not supported; must be null or left out."""
    frame_duration_ms: _Nothing = None
    """Not supported; must be null or left out."""
    svg: _Nothing = None
    """Not supported; must be null or left out."""
    seed: Seed | None = None
    """Extension: seed of the first image; image `i` uses `seed + i`. JavaScript reads one above 2^53-1 inexactly."""
    aspect_ratio: AspectRatio | None = None
    """Extension: ratio of width to height, such as `16:9`; excludes a `size`."""
    negative_prompt: Prompt | None = None
    """Extension: what not to draw; 1 to 32,000 characters."""
    provider_options: ProviderOptions | None = None
    """Extension: options of the provider (`options` in `GET /v1/providers`), at most 64 KiB; in a form JSON text."""

    @field_validator("aspect_ratio")
    @classmethod
    def _excludes_size(cls, ratio: str | None, info: ValidationInfo) -> str | None:
        if ratio is not None and info.data.get("size") not in (None, "auto"):
            raise refused("Give either size or aspect_ratio.")
        return ratio


class ImageView(View):
    """An image: either its address or its bytes."""

    url: str | None
    """Public address of the image; null with `b64_json`."""
    b64_json: str | None
    """The encoded image in base64; null with `url`."""
    revised_prompt: str | None
    """The prompt as the provider rewrote it; null if it did not, or did not say so."""


class ImagesView(View):
    """The images of a job."""

    created: int
    """When the job was completed, in seconds since 1970-01-01 UTC."""
    data: list[ImageView]
    """The images, by index."""
    output_format: str | None
    """File format of the images: `png`, `jpeg` or `webp`."""
    size: str | None
    """Width and height of the first image in pixels, such as `512x512`."""


class TokenDetailsView(View):
    """Token counts of the input. Always zero."""

    text_tokens: int = 0
    """Always 0."""
    image_tokens: int = 0
    """Always 0."""


class UsageView(View):
    """Token counts. Always zero: providers count differently, and the job has its cost."""

    input_tokens: int = 0
    """Always 0."""
    output_tokens: int = 0
    """Always 0."""
    total_tokens: int = 0
    """Always 0."""
    input_tokens_details: TokenDetailsView = TokenDetailsView()
    """Always zero."""


class CompletedView(View):
    """A finished image: the data of an event in a stream."""

    type: EventType
    """Type of the event."""
    b64_json: str
    """The encoded image in base64."""
    created_at: int
    """When the job was completed, in seconds since 1970-01-01 UTC."""
    size: str
    """Width and height in pixels, such as `512x512`."""
    quality: str
    """Quality that was requested; `auto` if none."""
    background: str
    """Background that was requested; `auto` if none."""
    output_format: str
    """File format: `png`, `jpeg` or `webp`."""
    usage: UsageView
    """Token counts. Always zero."""


class OpenAIModelView(View):
    """A provider, or a model of a provider."""

    id: str
    """Value of `model` in a request: `<provider>`, `<provider>/<model>` or an alias."""
    object: Literal["model"]
    """Always `model`."""
    created: int
    """Always 0: the service does not know when a model was published."""
    owned_by: str
    """Kind of the provider."""


class ModelList(View):
    """Every provider that the tenant may use, and every model that one of them lists."""

    object: Literal["list"]
    """Always `list`."""
    data: list[OpenAIModelView]
    """The providers and their models."""


class OpenAIError(View):
    """What went wrong."""

    message: str
    """What went wrong and what to do, for people."""
    type: str
    """Class of the error, by which OpenAI's clients choose an exception, such as `invalid_request_error`."""
    param: str | None
    """The wrong parameter; null if the error concerns none."""
    code: str
    """Name of the error, such as `model_not_found`."""
    job_id: str | None
    """The job that the error is about, which may still be in progress; null if there is none."""


class OpenAIErrorBody(View):
    """Error response of the OpenAI-compatible calls."""

    error: OpenAIError
    """The error."""


#: Converts the text of a form field to the value that JSON has, or raises ValueError, KeyError or `Problem`; all other
#: fields stay text.
FORM_KINDS: dict[str, Callable[[str], Any]] = {
    "n": int,
    "output_compression": int,
    "partial_images": int,
    "provider_options": lambda text: strict_json.parse(text.encode()),
    "seed": int,
    "stream": {"true": True, "false": False}.__getitem__,
}
