"""Provider-file entry of the kind `generic`: its settings describe the whole HTTP API of a provider."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import OutputFormat, Ratio, Size, Strict
from services.generator.adapters.providers.generic import dotted_paths
from services.generator.adapters.providers.generic.dotted_paths import DottedPath

GenericField = Literal[
    "prompt", "negative_prompt", "n", "seed", "size", "width", "height", "aspect_ratio", "quality", "output_format",
    "model", "uuid", "image", "images", "mask",
]  # fmt: skip
#: Meanings of a provider's error code: see `errors.MEANINGS`.
Meaning = Literal["refused", "invalid", "auth", "quota", "rate_limit", "unavailable", "rejected"]
MAX_BODY_BYTES = 64 * 1024
_PLACEHOLDER = re.compile(r"\{[^}]*\}?")
RequestPath = Annotated[str, Field(max_length=500, pattern=r"^/[A-Za-z0-9._~/{}?=&:@-]*$")]
Token = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]
ShortText = Annotated[str, Field(coerce_numbers_to_str=True, min_length=1, max_length=200)]
ShortTexts = Annotated[tuple[ShortText, ...], Field(max_length=100)]


class Auth(Strict):
    """How the key is sent: as `HEADER: SCHEME KEY`."""

    header: Token = "Authorization"
    """Header that carries the key."""
    scheme: str = Field(default="Bearer", max_length=50, pattern=r"^[A-Za-z0-9_-]*$")
    """Word before the key; empty, the key alone is sent."""


class Submit(Strict):
    """The request for images: constants, and where the fields of a job go."""

    path: RequestPath
    """Path after `base_url`; `{model}` becomes the job's model."""
    encoding: Literal["json", "form"] = "json"
    """`json`, or `form`: multipart, with images as files."""
    body: dict[str, Any] | list[Any] = Field(default_factory=dict)
    """Constant part of the body, at most 64 KiB; no option of a job changes it."""
    fields: Mapping[GenericField, DottedPath]
    """Dotted path in the body for each field of a job; `*` is each item of a list. A field that is not listed is not
    offered; `prompt` is required."""
    values: Mapping[GenericField, Mapping[str, ShortText]] = Field(default_factory=dict)
    """The provider's spelling of values, by field: `{output_format: {jpeg: jpg}}`."""
    size_separator: str = Field(default="x", min_length=1, max_length=3)
    """Text between the sides in the field `size`."""
    max_seed: int | None = Field(default=None, ge=1, le=2**63 - 1)
    """Largest seed; a larger one is sent as `seed mod (max_seed + 1)`. Left out, seeds are sent as they are."""
    images_as: Literal["data_uri", "base64"] = "data_uri"
    """Form of images in JSON; `base64` is without the data URI's prefix."""
    options: Annotated[str, Field(max_length=300)] = ""
    """Dotted path of the object that receives a job's `provider_options`; empty, the body itself."""


class OperationSettings(Strict):
    """Where the response to a submission names the operation that is polled."""

    id: DottedPath
    """Dotted path of the operation's id."""
    address: DottedPath | None = None
    """Dotted path of the address to poll; left out, `poll.path`."""


class Poll(Strict):
    """The request that reads an operation's status, if the response to the submission names no address."""

    path: RequestPath
    """Path after `base_url`; `{id}` becomes the operation's id."""


class Status(Strict):
    """Where a response has the operation's status, and what its values mean. An unknown value leaves the call open."""

    path: DottedPath
    """Dotted path of the status."""
    pending: ShortTexts = ()
    """Values of an operation that goes on; at least one with `operation`."""
    done: ShortTexts
    """Values of an operation with images."""
    failed: ShortTexts = ()
    """Values of an operation that failed."""
    refused: ShortTexts = ()
    """Values of an operation that the content policy forbids."""
    canceled: ShortTexts = ()
    """Values of an operation that was stopped."""

    def meaning(self, value: str) -> str | None:
        """Returns the name of the key that lists the value; None if none does."""
        return next((name for name, values in self.by_meaning().items() if value in values), None)

    def by_meaning(self) -> Mapping[str, tuple[str, ...]]:
        """Returns the values listed by each key."""
        return {name: getattr(self, name) for name in ("pending", "done", "failed", "refused", "canceled")}


class Result(Strict):
    """Where a response has the images: `urls` or `base64`."""

    urls: DottedPath | None = None
    """Dotted path of the images' addresses or data URIs."""
    base64: DottedPath | None = None
    """Dotted path of the images in base64."""
    seed: DottedPath | None = None
    """Dotted path of the seed, one for each image; left out, none is reported."""
    flagged: DottedPath | None = None
    """Dotted path of flags of the content policy; one that is true makes the call a refusal. Left out, none is read."""


class Errors(Strict):
    """Where an error response has its code and its message, and what they mean."""

    code: tuple[DottedPath, ...] = Field(default=("error.code", "code"), max_length=10)
    """Dotted paths of the error code; the first that exists is used."""
    message: tuple[DottedPath, ...] = Field(default=("error.message", "error", "message", "detail"), max_length=10)
    """Dotted paths of the error message; the first that exists is used."""
    means: Mapping[ShortText, Meaning] = Field(default_factory=dict, max_length=200)
    """Meanings of error codes; `unavailable` and `rate_limit` may be tried again."""
    phrases: Mapping[ShortText, Meaning] = Field(default_factory=dict, max_length=200)
    """Meanings of phrases in the message, upper or lower case, for errors whose code has none."""
    not_accepted: ShortTexts = ()
    """Codes of errors after which nothing was carried out and nothing is charged."""


class Cancel(Strict):
    """The request that stops an operation."""

    method: Literal["POST", "PUT", "DELETE"] = "POST"
    """HTTP method of the request."""
    path: RequestPath
    """Path after `base_url`; `{id}` becomes the operation's id."""
    confirmed: tuple[Annotated[int, Field(ge=200, le=299)], ...] = Field(min_length=1, max_length=10)
    """Statuses (200 to 299) that confirm that the operation is stopped."""


class GenericSettings(Strict):
    """An HTTP API that returns images, or an operation that is polled."""

    auth: Auth = Auth()
    """How the key is sent."""
    headers: Mapping[Token, Annotated[str, Field(max_length=500, pattern=r"^[ -~]*$")]] = Field(default_factory=dict)
    """Constant headers of every request."""
    submit: Submit
    """The request for images."""
    operation: OperationSettings | None = None
    """Where the response names the operation; left out, the response has the images."""
    poll: Poll | None = None
    """The request that reads an operation's status; required with `operation`, unless that has an address."""
    status: Status | None = None
    """The operation's status in a response; required with `operation`."""
    result: Result
    """Where the images are."""
    errors: Errors = Errors()
    """How error responses are read."""
    cancel: Cancel | None = None
    """The request that stops an operation; left out, none can be stopped."""
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    """Most images of one call; over 1 needs `submit.fields.n`."""
    sizes: tuple[Size, ...] = ()
    """The only sizes that jobs may choose; empty, any within the bounds of the sides."""
    min_side: int = Field(default=64, ge=1)
    """Shortest side in pixels, with `submit.fields.size`, or `width` and `height`."""
    max_side: int = Field(default=2048, ge=1)
    """Longest side in pixels."""
    side_multiple: int = Field(default=1, ge=1)
    """Sides must be a multiple of this many pixels."""
    aspect_ratios: tuple[Ratio, ...] = ()
    """Ratios that jobs may choose; needs `submit.fields.aspect_ratio`."""
    qualities: tuple[str, ...] = ()
    """Qualities that jobs may choose; needs `submit.fields.quality`."""
    output_formats: tuple[OutputFormat, ...] = ()
    """Formats that jobs may choose; needs `submit.fields.output_format`."""
    max_input_images: int = Field(default=0, ge=0, le=16)
    """Most input images of a job; over 0 needs `submit.fields.image` (one image) or `images`."""
    max_prompt_characters: int = Field(default=0, ge=0)
    """Longest prompt in characters; 0 is no limit of the provider."""

    @model_validator(mode="after")
    def _fields_fit(self) -> "GenericSettings":
        fields = self.submit.fields
        _need("prompt" in fields, "submit.fields must have prompt, the place of the prompt in the body")
        _need(("width" in fields) == ("height" in fields), "submit.fields must have width and height, or neither")
        _need("n" in fields or self.max_images_per_call == 1, "max_images_per_call over 1 needs submit.fields.n")
        _need(
            not {"image", "images"} <= fields.keys(), "submit.fields.image and submit.fields.images exclude each other"
        )
        _need("image" not in fields or self.max_input_images == 1, "submit.fields.image needs max_input_images: 1")
        accepts_images = "image" in fields or "images" in fields
        _need(
            accepts_images == (self.max_input_images > 0), "max_input_images and submit.fields.images need each other"
        )
        _need(accepts_images or "mask" not in fields, "submit.fields.mask needs submit.fields.images")
        for field, setting in _LISTED.items():
            listed = getattr(self, setting)
            _need((field in fields) == bool(listed), f"{setting} and submit.fields.{field} need each other")
        _need(not self.sizes or self.accepts_size, "sizes need submit.fields.size, or width and height")
        for field in self.submit.values:
            _need(field in fields, f"submit.values.{field} has no submit.fields.{field}")
        return self

    @model_validator(mode="after")
    def _body_fits(self) -> "GenericSettings":
        is_form = self.submit.encoding == "form"
        _need(_json_length(self.submit.body) <= MAX_BODY_BYTES, "submit.body must be at most 64 KiB")
        _need(not is_form or isinstance(self.submit.body, dict), "submit.body of a form must be an object")
        body, paths = copy.deepcopy(self.submit.body), list(self.submit.fields.values())
        _placed("options", dotted_paths.at, body, self.submit.options)
        for field, path in self.submit.fields.items():
            name = f"submit.fields.{field}"
            each = path.split(".").count(dotted_paths.EACH)
            _need(each <= (field == "images") and path[0] != dotted_paths.EACH, f"{name}: one * for images, else none")
            _need(not is_form or "." not in path, f"{name}: a form has no objects, so no dots")
            fields_here = sum(other == path or other.startswith(f"{path}.") for other in paths)
            _need(fields_here == 1, f"{name}: another field has the same path")
            _placed(f"fields.{field}", dotted_paths.put, body, path, [""] if field == "images" else "")
        return self

    @model_validator(mode="after")
    def _operation_fits(self) -> "GenericSettings":
        has_address = self.operation is not None and self.operation.address is not None
        if self.operation is None:
            _need(self.poll is None and self.cancel is None, "poll and cancel need operation.id")
        else:
            _need(has_address != (self.poll is not None), "write operation.address or poll.path: one of them, not both")
            _need(self.status is not None, "operation needs status, with the values for done and pending")
        for name, path, allowed in (
            ("submit", self.submit.path, "{model}"),
            ("poll", self.poll.path if self.poll else "", "{id}"),
            ("cancel", self.cancel.path if self.cancel else "", "{id}"),
        ):
            _need(".." not in path and "//" not in path, f"{name}.path must not have .. or //")
            unknown = [placeholder for placeholder in _PLACEHOLDER.findall(path) if placeholder != allowed]
            _need(not unknown, f"{name}.path: {', '.join(unknown)} is not a placeholder; {allowed} is")
            _need(name == "submit" or not path or allowed in path, f"{name}.path must have {allowed}")
        _need((self.result.urls is None) != (self.result.base64 is None), "result needs urls or base64, not both")
        _need(self.auth.header.lower() not in map(str.lower, self.headers), "headers must not have auth.header")
        return self

    @model_validator(mode="after")
    def _status_fits(self) -> "GenericSettings":
        if self.status is not None:
            listed = [value for values in self.status.by_meaning().values() for value in values]
            repeated = sorted({value for value in listed if listed.count(value) > 1})
            _need(not repeated, f"status: {', '.join(repeated)} must have only one meaning")
            _need(bool(self.status.pending) or self.operation is None, "status.pending must have at least one value")
        return self

    @property
    def accepts_size(self) -> bool:
        """Whether a field takes the size, or width and height."""
        return "size" in self.submit.fields or "width" in self.submit.fields


class GenericEntry(RemoteEntry):
    """Any provider whose HTTP API the settings describe."""

    kind: Literal["generic"]
    """The kind of the provider."""
    settings: GenericSettings
    """Settings of the kind."""

    @model_validator(mode="after")
    def _has_address(self) -> "GenericEntry":
        _need(self.base_url is not None, "base_url is required: the key is sent to no other host")
        return self


#: Settings that list a field's values, by the field.
_LISTED = {"aspect_ratio": "aspect_ratios", "quality": "qualities", "output_format": "output_formats"}


def _need(is_true: bool, message: str) -> None:
    if not is_true:
        raise ValueError(message)


def _placed(name: str, write: Callable[..., Any], *arguments: Any) -> None:
    """Calls `write` and names the setting in its `ValueError`."""
    try:
        write(*arguments)
    except ValueError as error:
        raise ValueError(f"submit.{name}: {error}") from error


def _json_length(body: Any) -> int:
    try:
        return len(json.dumps(body, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("submit.body must have only values of JSON; put dates into quotes") from error
