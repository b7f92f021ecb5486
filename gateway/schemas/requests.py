"""What comes in: strict types, unknown fields refused, every string and list bounded."""

import base64
import binascii
import json
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gateway.schemas.client_tokens import LONGEST_SECONDS, TokenAction

MAX_PROMPT = 32_000
MAX_INPUTS = 16
MAX_INPUT_BYTES = 20 * 1024 * 1024
MAX_INPUT_BYTES_TOGETHER = 40 * 1024 * 1024
MAX_OPTIONS_BYTES = 64 * 1024
MAX_INT32 = 2**31 - 1
#: Larger whole numbers would lose digits on their way, as JSON numbers travel as doubles.
MAX_EXACT = 2**53


def refused(message: str) -> PydanticCustomError:
    """A validator's no, in words that are shown as they are."""
    return PydanticCustomError("refused", "{text}", {"text": message})


def _whole(written: Any) -> Any:
    # JSON has one kind of number: 2.0 is the whole number 2.
    return int(written) if isinstance(written, float) and written.is_integer() else written


def _one_line(written: str) -> str:
    if any(character in written for character in "\t\n\r"):
        raise refused("Must be one line.")
    return written


def _web_address(written: str) -> str:
    try:
        parts = urlsplit(written)
        _ = parts.port
    except ValueError:
        raise refused("Not a valid address.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refused("Must be an http or https address.")
    if "@" in parts.netloc:
        raise refused("Must not hold a user name or password.")
    if any(character.isspace() for character in written):
        raise refused("Must not hold spaces.")
    return written


def _decoded(written: Any) -> bytes:
    if not isinstance(written, str):
        raise refused("Must be base64 text.")
    try:
        data = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        raise refused("Is not base64 that decodes.") from None
    if not data:
        raise refused("Must not be empty.")
    if len(data) > MAX_INPUT_BYTES:
        raise refused(f"At most {MAX_INPUT_BYTES:,} bytes, decoded.")
    return data


def _options(options: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(options)) > MAX_OPTIONS_BYTES:
        raise refused(f"At most {MAX_OPTIONS_BYTES:,} bytes.")
    _refuse_inexact(options)
    return options


def _refuse_inexact(value: Any) -> None:
    if isinstance(value, int) and abs(value) > MAX_EXACT:
        raise refused("Holds a whole number beyond 2^53; write it as text.")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_inexact(inner)


def told(pattern: str) -> Any:
    """A pattern for the document; the check itself is made elsewhere, in better words."""
    return Field(json_schema_extra={"pattern": pattern})


WHOLE = BeforeValidator(_whole)
#: What `strict_json` lets through, in one line and in several.
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
_Line = Annotated[str, StringConstraints(min_length=1), AfterValidator(_one_line), told(ONE_LINE)]
_Provider = Annotated[_Line, StringConstraints(max_length=100)]
_Key = Annotated[_Line, StringConstraints(max_length=40)]
_Value = Annotated[str, StringConstraints(max_length=500), told(LINES)]
#: Whole numbers, or a decimal one such as in 19.5:9.
RATIO = r"^[1-9][0-9]{0,4}(\.[0-9]{1,2})?:[1-9][0-9]{0,4}(\.[0-9]{1,2})?$"
OutputFormat = Literal["png", "jpeg", "webp"]
Background = Literal["transparent", "opaque", "auto"]
Moderation = Literal["auto", "low"]
InputFidelity = Literal["low", "high"]
Compression = Annotated[int, Field(ge=0, le=100), WHOLE]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT), told(LINES)]
_Address = Annotated[
    str,
    StringConstraints(max_length=2048),
    AfterValidator(_web_address),
    told(r"^[hH][tT][tT][pP][sS]?://[^\s/?#@]+([/?#]\S*)?$"),
]
_Seconds = Annotated[int, Field(ge=1, le=MAX_INT32), WHOLE]
_Data = Annotated[
    bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "contentEncoding": "base64", "minLength": 4})
]


class Body(BaseModel):
    """A JSON object that a client sends."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class InputImage(Body):
    """A picture that the caller brings: its address or its bytes, not both."""

    url: _Address | None = None
    """Fetched by the generator; http or https, without credentials."""
    data: _Data | None = None
    """The encoded picture in base64, at most 20 MiB decoded."""
    content_type: Annotated[str, StringConstraints(pattern=r"^image/[a-z0-9][a-z0-9.+-]{0,62}$")] | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.url is None) == (self.data is None):
            raise refused("Give either url or data.")
        return self


class CreateJob(Body):
    """What is wanted; only `prompt` is required."""

    prompt: Prompt
    negative_prompt: Prompt | None = None
    provider: _Provider | None = None
    """Null: the default provider."""
    model: Annotated[_Line, StringConstraints(max_length=200)] | None = None
    """Null: the provider's default."""
    fallback: Annotated[list[_Provider], Field(max_length=5)] = []
    """Providers to try in order when surely nothing was bought."""
    n: Annotated[int, Field(ge=1, le=10), WHOLE] = 1
    size: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$")] | None = None
    """Pixels; excludes `aspect_ratio`."""
    aspect_ratio: Annotated[str, StringConstraints(pattern=RATIO)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE] | None = None
    quality: Annotated[_Line, StringConstraints(max_length=64)] | None = None
    output_format: OutputFormat | None = None
    background: Background | None = None
    """`transparent` needs png or webp."""
    output_compression: Compression | None = None
    """How well jpeg and webp are kept; 100 is least compressed."""
    moderation: Moderation | None = None
    input_fidelity: InputFidelity | None = None
    """How closely input images are kept; for jobs that have some."""
    input_images: Annotated[list[InputImage], Field(max_length=MAX_INPUTS)] = []
    """At most 40 MiB together with the mask."""
    mask: InputImage | None = None
    """What is transparent in it is to be edited; what is white, where nothing is transparent."""
    provider_options: Annotated[dict[str, Any], AfterValidator(_options)] = {}
    priority: Literal["high", "normal", "low"] = "normal"
    start_within_seconds: _Seconds | None = None
    finish_within_seconds: _Seconds | None = None
    on_ambiguous: Literal["fail", "retry"] = "fail"
    """What to do when a paid call's outcome is unknown."""
    fallback_on_refusal: bool = False
    callback_url: _Address | None = None
    end_user: Annotated[_Line, StringConstraints(max_length=128)] | None = None
    metadata: Annotated[
        dict[_Key, _Value], Field(max_length=16, json_schema_extra={"additionalProperties": False})
    ] = {}

    @field_validator("aspect_ratio")
    @classmethod
    def _excludes_size(cls, ratio: str | None, info: ValidationInfo) -> str | None:
        if ratio is not None and info.data.get("size") is not None:
            raise refused("Name a size or an aspect ratio, not both.")
        return ratio

    @field_validator("input_images")
    @classmethod
    def _fit_together(cls, images: list[InputImage]) -> list[InputImage]:
        _refuse_heavy(images)
        return images

    @field_validator("mask")
    @classmethod
    def _fits_too(cls, mask: InputImage | None, info: ValidationInfo) -> InputImage | None:
        if mask is not None:
            _refuse_heavy([mask, *info.data.get("input_images", ())])
        return mask


def _refuse_heavy(images: list[InputImage]) -> None:
    if sum(len(image.data or b"") for image in images) > MAX_INPUT_BYTES_TOGETHER:
        raise refused(f"At most {MAX_INPUT_BYTES_TOGETHER:,} bytes together.")


class RetryJob(Body):
    """How to try a failed job again; all optional."""

    on_ambiguous: Literal["fail", "retry"] = "fail"
    """`retry` consents to pay again where an outcome is unknown."""
    expected_sequence: Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE] | None = None
    """Refuse unless the job is still at this sequence."""


class CreateClientToken(Body):
    """What a browser shall be able to do with a job."""

    job_id: Annotated[str, StringConstraints(max_length=80), told(LINES)]
    actions: Annotated[list[TokenAction], Field(min_length=1, max_length=3)] = ["read"]
    """`read` is to look and to follow; `retry` includes the consent to pay again."""
    ttl_seconds: Annotated[int, Field(ge=60, le=LONGEST_SECONDS), WHOLE] = 3600
