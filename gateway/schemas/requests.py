"""Request bodies: strict types, no unknown fields, a bound on every string and list."""

import base64
import binascii
import json
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from calotype.size_limits import (
    MAX_END_USER_CHARACTERS,
    MAX_FALLBACKS,
    MAX_IMAGES,
    MAX_INPUT_BYTES,
    MAX_INPUT_BYTES_TOGETHER,
    MAX_INPUT_IMAGES,
    MAX_METADATA_ENTRIES,
    MAX_METADATA_KEY_CHARACTERS,
    MAX_METADATA_VALUE_CHARACTERS,
    MAX_MODEL_CHARACTERS,
    MAX_OPTIONS_BYTES,
    MAX_PROMPT_CHARACTERS,
    MAX_PROVIDER_CHARACTERS,
    MAX_QUALITY_CHARACTERS,
    MAX_URL_CHARACTERS,
)
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
from gateway.schemas.jobs import OnAmbiguous, Priority

MAX_INT32 = 2**31 - 1
#: `provider_options` travel as protobuf doubles, in which larger whole numbers lose digits.
MAX_EXACT = 2**53


def refused(message: str) -> PydanticCustomError:
    """Returns the error for a validator to raise; the client gets the message unchanged."""
    return PydanticCustomError("refused", "{text}", {"text": message})


def _whole(value: Any) -> Any:
    # JSON has one type of number: 2.0 is the whole number 2.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _single_line(text: str) -> str:
    if any(character in text for character in "\t\n\r"):
        raise refused("Must be one line.")
    return text


def web_address(text: str) -> str:
    """Returns the text if it is an http or https URL without user name and password; raises `refused` otherwise."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise refused("Not a valid address.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refused("Must be an http or https address.")
    if "@" in parts.netloc:
        raise refused("Must not contain a user name or password.")
    if any(character.isspace() for character in text):
        raise refused("Must not contain spaces.")
    return text


def decoded_image(text: Any) -> bytes:
    """Returns the bytes of base64 text, at least one and not more than an input image may have."""
    if not isinstance(text, str):
        raise refused("Must be base64 text.")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise refused("Is not valid base64.") from None
    if not data:
        raise refused("Must not be empty.")
    if len(data) > MAX_INPUT_BYTES:
        raise refused(f"Must be at most {MAX_INPUT_BYTES:,} bytes, decoded.")
    return data


def _options(options: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(options)) > MAX_OPTIONS_BYTES:
        raise refused(f"Must be at most {MAX_OPTIONS_BYTES:,} bytes.")
    _refuse_inexact(options)
    return options


def _refuse_inexact(value: Any) -> None:
    if isinstance(value, int) and abs(value) > MAX_EXACT:
        raise refused("Contains a whole number beyond 2^53; write it as text.")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_inexact(inner)


def documented_pattern(pattern: str) -> Any:
    """Adds a pattern to the OpenAPI document only; another validator makes the check, with a better message."""
    return Field(json_schema_extra={"pattern": pattern})


WHOLE = BeforeValidator(_whole)
#: Text that `strict_json` accepts: one line, and several lines.
SINGLE_LINE = r"^[^\x00-\x1f\x7f]*$"
#: One line without any control character, C1 and Unicode's line separators included.
PLAIN_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
_Line = Annotated[str, StringConstraints(min_length=1), AfterValidator(_single_line), documented_pattern(SINGLE_LINE)]
_Provider = Annotated[_Line, StringConstraints(max_length=MAX_PROVIDER_CHARACTERS)]
_Key = Annotated[_Line, StringConstraints(max_length=MAX_METADATA_KEY_CHARACTERS)]
_Value = Annotated[str, StringConstraints(max_length=MAX_METADATA_VALUE_CHARACTERS), documented_pattern(LINES)]
#: Width to height in whole numbers or with up to two decimals, such as 16:9 and 19.5:9.
RATIO = r"^[1-9][0-9]{0,4}(\.[0-9]{1,2})?:[1-9][0-9]{0,4}(\.[0-9]{1,2})?$"
OutputFormat = Literal["png", "jpeg", "webp"]
Background = Literal["transparent", "opaque", "auto"]
Moderation = Literal["auto", "low"]
InputFidelity = Literal["low", "high"]
Compression = Annotated[int, Field(ge=0, le=100), WHOLE]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT_CHARACTERS), documented_pattern(LINES)]
#: An http or https URL without user name and password.
WebAddress = Annotated[
    str,
    StringConstraints(max_length=MAX_URL_CHARACTERS),
    AfterValidator(web_address),
    documented_pattern(r"^[hH][tT][tT][pP][sS]?://[^\s/?#@]+([/?#]\S*)?$"),
]
AspectRatio = Annotated[str, StringConstraints(pattern=RATIO)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE]
ProviderOptions = Annotated[dict[str, Any], AfterValidator(_options)]
_Seconds = Annotated[int, Field(ge=1, le=MAX_INT32), WHOLE]
_Data = Annotated[
    bytes,
    BeforeValidator(decoded_image),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "minLength": 4}),
]


class Body(BaseModel):
    """Base of all request bodies: a JSON object without unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class InputImage(Body):
    """An image that the caller sends: either `url` or `data`."""

    url: WebAddress | None = None
    """Public http or https address of the image, without user name and password. A generator fetches it."""
    data: _Data | None = None
    """The encoded image (PNG, JPEG or WebP) in base64; at most 20 MiB decoded."""
    content_type: Annotated[str, StringConstraints(pattern=r"^image/[a-z0-9][a-z0-9.+-]{0,62}$")] | None = None
    """Media type, such as `image/png`; null: detected from the data."""

    @model_validator(mode="after")
    def _has_single_source(self) -> Self:
        if (self.url is None) == (self.data is None):
            raise refused("Give either url or data.")
        return self


class CreateJob(Body):
    """A request for images. Only `prompt` is required; null means the same as a field that is left out.

    A field that the chosen provider does not support is refused; `GET /v1/providers` says what each one supports.
    """

    prompt: Prompt
    """What to draw; 1 to 32,000 characters."""
    negative_prompt: Prompt | None = None
    """What not to draw; 1 to 32,000 characters."""
    provider: _Provider | None = None
    """Provider, by its name in `GET /v1/providers`; null: the default provider."""
    model: Annotated[_Line, StringConstraints(max_length=MAX_MODEL_CHARACTERS)] | None = None
    """Model of the provider; null: the provider's default model."""
    fallback: Annotated[list[_Provider], Field(max_length=MAX_FALLBACKS)] = []
    """Providers to try in this order if `provider` fails before anything was bought; at most 5."""
    n: Annotated[int, Field(ge=1, le=MAX_IMAGES), WHOLE] = 1
    """Number of images."""
    size: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$")] | None = None
    """Width and height in pixels, such as `1024x768`; excludes `aspect_ratio`. Null: the provider's own choice."""
    aspect_ratio: AspectRatio | None = None
    """Ratio of width to height, such as `16:9` or `19.5:9`; excludes `size`. Null: the provider's own choice."""
    seed: Seed | None = None
    """Seed of the first image; image `i` uses `seed + i`. Null: chosen by the service or the provider.

    JavaScript represents whole numbers exactly only up to 2^53-1 (9007199254740991): `JSON.parse` and `JSON.stringify`
    change a larger seed, so keep seeds of a browser below that.
    """
    quality: Annotated[_Line, StringConstraints(max_length=MAX_QUALITY_CHARACTERS)] | None = None
    """Quality, by the provider's own name for it (`qualities`); null: the provider's own choice."""
    output_format: OutputFormat | None = None
    """File format of the images; null: the provider's own choice."""
    background: Background | None = None
    """Background of the images; `transparent` needs png or webp. Null: the provider's own choice."""
    output_compression: Compression | None = None
    """Quality of jpeg and webp files: 0 is smallest, 100 is least compressed. Null: the provider's own choice."""
    moderation: Moderation | None = None
    """How strictly the provider moderates; null: the provider's own choice."""
    input_fidelity: InputFidelity | None = None
    """How closely input images are preserved; needs `input_images`. Null: the provider's own choice."""
    input_images: Annotated[list[InputImage], Field(max_length=MAX_INPUT_IMAGES)] = []
    """Images to start from, at most 16; at most 40 MiB together with the mask, and 50 million pixels each."""
    mask: InputImage | None = None
    """Mask of an edit: its transparent pixels are edited, or its white ones if none is transparent."""
    provider_options: ProviderOptions = {}
    """Options of the provider (`options` in `GET /v1/providers`); at most 64 KiB as JSON.

    A whole number beyond 2^53 (9007199254740992) is refused; write it as text.
    """
    priority: Priority = "normal"
    """Order among the tenant's own jobs."""
    start_within_seconds: _Seconds | None = None
    """Seconds from acceptance within which a generator must claim the job, or it fails; null: no such limit."""
    finish_within_seconds: _Seconds | None = None
    """Seconds from acceptance within which the job must be final, or it fails; null: no such limit."""
    on_ambiguous: OnAmbiguous = "fail"
    """What to do if the outcome of a paid call is unknown: fail the job, or call again and maybe pay twice."""
    fallback_on_refusal: bool = False
    """True: a refusal by a provider's content policy is tried at the next fallback."""
    callback_url: WebAddress | None = None
    """URL that final events of the job are posted to, signed with the tenant's signing secret (docs/webhooks.md).

    A private address is refused when it is called, not here; `GET /v1/webhooks/callbacks/deliveries` lists the outcome.
    """
    end_user: Annotated[_Line, StringConstraints(max_length=MAX_END_USER_CHARACTERS)] | None = None
    """The caller's own user, a filter of `GET /v1/jobs`; at most 128 characters."""
    metadata: Annotated[
        dict[_Key, _Value], Field(max_length=MAX_METADATA_ENTRIES, json_schema_extra={"additionalProperties": False})
    ] = {}
    """The caller's own labels, by which `GET /v1/jobs` filters; at most 16.

    A key has 1 to 40 characters, a value at most 500.
    """

    @field_validator("aspect_ratio")
    @classmethod
    def _excludes_size(cls, ratio: str | None, info: ValidationInfo) -> str | None:
        if ratio is not None and info.data.get("size") is not None:
            raise refused("Give either size or aspect_ratio.")
        return ratio

    @field_validator("input_images")
    @classmethod
    def _bound_inputs(cls, images: list[InputImage]) -> list[InputImage]:
        refuse_heavy(images)
        return images

    @field_validator("mask")
    @classmethod
    def _bound_inputs_with_mask(cls, mask: InputImage | None, info: ValidationInfo) -> InputImage | None:
        if mask is not None:
            refuse_heavy([mask, *info.data.get("input_images", ())])
        return mask


def refuse_heavy(images: list[InputImage]) -> None:
    """Raises `refused` if the images have more bytes together than a job may."""
    if sum(len(image.data or b"") for image in images) > MAX_INPUT_BYTES_TOGETHER:
        raise refused(f"Must be at most {MAX_INPUT_BYTES_TOGETHER:,} bytes together.")


class RetryJob(Body):
    """How to retry a failed job; every field is optional."""

    on_ambiguous: OnAmbiguous = "fail"
    """`retry` consents to pay again for images whose paid call has an unknown outcome."""
    expected_sequence: Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE] | None = None
    """Refuse the retry unless the job still has this `sequence`; null: retry in any case.

    Sequences are small numbers; one above 2^53-1 would not survive `JSON.stringify` in JavaScript.
    """


class CreateClientToken(Body):
    """What a page in a browser may do with a job."""

    job_id: Annotated[str, StringConstraints(max_length=80), documented_pattern(LINES)]
    """The job; at most 80 characters."""
    actions: Annotated[list[TokenAction], Field(min_length=1, max_length=3)] = ["read"]
    """What the token allows; 1 to 3 actions."""
    ttl_seconds: Annotated[int, Field(ge=60, le=LONGEST_SECONDS), WHOLE] = 3600
    """Validity in seconds, from a minute to a day."""
