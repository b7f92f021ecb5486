"""Entries of the kind `generic`: the whole contract of a vendor is in its settings."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import OutputFormat, Ratio, RemoteEntry, Size, Strict
from services.generator.adapters.providers.generic import dotted_paths
from services.generator.adapters.providers.generic.dotted_paths import DottedPath

GenericField = Literal[
    "prompt", "negative_prompt", "n", "seed", "size", "width", "height", "aspect_ratio", "quality", "output_format",
    "model", "uuid", "image", "images", "mask",
]  # fmt: skip
#: What a vendor's code means.
Meaning = Literal["refused", "invalid", "auth", "quota", "rate_limit", "unavailable", "rejected"]
MOST_BODY_BYTES = 64 * 1024
_PLACEHOLDER = re.compile(r"\{[^}]*\}?")
RequestPath = Annotated[str, Field(max_length=500, pattern=r"^/[A-Za-z0-9._~/{}?=&:@-]*$")]
Token = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]
Word = Annotated[str, Field(coerce_numbers_to_str=True, min_length=1, max_length=200)]
Words = Annotated[tuple[Word, ...], Field(max_length=100)]


class Auth(Strict):
    """How the key is sent: `header: scheme key`, or the key alone where the scheme is empty."""

    header: Token = "Authorization"
    scheme: str = Field(default="Bearer", max_length=50, pattern=r"^[A-Za-z0-9_-]*$")


class Submit(Strict):
    """The request that buys: constants, and where the fields of a job go."""

    path: RequestPath
    encoding: Literal["json", "form"] = "json"
    body: dict[str, Any] | list[Any] = Field(default_factory=dict)
    fields: Mapping[GenericField, DottedPath]
    #: The vendor's spelling of values, by field: `{output_format: {jpeg: jpg}}`.
    values: Mapping[GenericField, Mapping[str, Word]] = Field(default_factory=dict)
    size_separator: str = Field(default="x", min_length=1, max_length=3)
    max_seed: int | None = Field(default=None, ge=1, le=2**63 - 1)
    images_as: Literal["data_uri", "base64"] = "data_uri"
    #: The object that a job's `provider_options` go into; the body itself where nothing is said.
    options: Annotated[str, Field(max_length=300)] = ""


class OperationSettings(Strict):
    """By what the answer to a submission names the operation: always an id, and an address where that is polled."""

    id: DottedPath
    address: DottedPath | None = None


class Poll(Strict):
    """Where to look, unless the answer says it."""

    path: RequestPath


class Status(Strict):
    """Where an answer says how the operation stands, and by which words."""

    path: DottedPath
    pending: Words = ()
    done: Words
    failed: Words = ()
    refused: Words = ()
    canceled: Words = ()

    def meaning(self, word: str) -> str | None:
        """What a word means; None where nothing is said of it."""
        return next((name for name, words in self.by_meaning().items() if word in words), None)

    def by_meaning(self) -> Mapping[str, tuple[str, ...]]:
        """The words of each meaning."""
        return {name: getattr(self, name) for name in ("pending", "done", "failed", "refused", "canceled")}


class Result(Strict):
    """Where the images are: addresses (or data URIs), or base64; the seed; flags of what the policy forbids."""

    urls: DottedPath | None = None
    base64: DottedPath | None = None
    seed: DottedPath | None = None
    flagged: DottedPath | None = None


class Errors(Strict):
    """Where a failure says its code and its words, and what codes mean."""

    code: tuple[DottedPath, ...] = Field(default=("error.code", "code"), max_length=10)
    message: tuple[DottedPath, ...] = Field(default=("error.message", "error", "message", "detail"), max_length=10)
    means: Mapping[Word, Meaning] = Field(default_factory=dict, max_length=200)
    #: What phrases mean, where no code tells; looked for in the failure's words, in any letters.
    phrases: Mapping[Word, Meaning] = Field(default_factory=dict, max_length=200)
    #: Codes that say that nothing was carried out, and nothing is charged.
    not_accepted: Words = ()


class Cancel(Strict):
    """The request that stops an operation, and the statuses that say that it is stopped."""

    method: Literal["POST", "PUT", "DELETE"] = "POST"
    path: RequestPath
    confirmed: tuple[Annotated[int, Field(ge=200, le=299)], ...] = Field(min_length=1, max_length=10)


class GenericSettings(Strict):
    """A vendor that takes a request over HTTP, and answers with images, or with an operation that is polled."""

    auth: Auth = Auth()
    #: Sent with every request.
    headers: Mapping[Token, Annotated[str, Field(max_length=500, pattern=r"^[ -~]*$")]] = Field(default_factory=dict)
    submit: Submit
    operation: OperationSettings | None = None
    poll: Poll | None = None
    status: Status | None = None
    result: Result
    errors: Errors = Errors()
    cancel: Cancel | None = None
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    sizes: tuple[Size, ...] = ()
    min_side: int = Field(default=64, ge=1)
    max_side: int = Field(default=2048, ge=1)
    side_multiple: int = Field(default=1, ge=1)
    aspect_ratios: tuple[Ratio, ...] = ()
    qualities: tuple[str, ...] = ()
    output_formats: tuple[OutputFormat, ...] = ()
    max_input_images: int = Field(default=0, ge=0, le=16)
    max_prompt_characters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fields_fit(self) -> "GenericSettings":
        fields = self.submit.fields
        _need("prompt" in fields, "submit.fields must say where the prompt goes")
        _need(("width" in fields) == ("height" in fields), "submit.fields must have width and height, or neither")
        _need("n" in fields or self.max_images_per_call == 1, "max_images_per_call over 1 needs submit.fields.n")
        _need(
            not {"image", "images"} <= fields.keys(), "submit.fields.image and submit.fields.images exclude each other"
        )
        _need("image" not in fields or self.max_input_images == 1, "submit.fields.image needs max_input_images 1")
        takes = "image" in fields or "images" in fields
        _need(takes == (self.max_input_images > 0), "max_input_images and submit.fields.images need each other")
        _need(takes or "mask" not in fields, "submit.fields.mask needs submit.fields.images")
        for field, setting in _LISTED.items():
            listed = getattr(self, setting)
            _need((field in fields) == bool(listed), f"{setting} and submit.fields.{field} need each other")
        _need(not self.sizes or self.takes_size, "sizes need submit.fields.size, or width and height")
        for field in self.submit.values:
            _need(field in fields, f"submit.values.{field} has no submit.fields.{field}")
        return self

    @model_validator(mode="after")
    def _body_fits(self) -> "GenericSettings":
        is_form = self.submit.encoding == "form"
        _need(_json_length(self.submit.body) <= MOST_BODY_BYTES, "submit.body is longer than 64 KiB")
        _need(not is_form or isinstance(self.submit.body, dict), "submit.body of a form must be an object")
        body, paths = copy.deepcopy(self.submit.body), list(self.submit.fields.values())
        _placed("options", dotted_paths.at, body, self.submit.options)
        for field, path in self.submit.fields.items():
            name = f"submit.fields.{field}"
            each = path.split(".").count(dotted_paths.EACH)
            _need(each <= (field == "images") and path[0] != dotted_paths.EACH, f"{name}: one * for images, else none")
            _need(not is_form or "." not in path, f"{name}: a form has no objects, so no dots")
            others = sum(one == path or one.startswith(f"{path}.") for one in paths)
            _need(others == 1, f"{name}: another field goes to the same place")
            _placed(f"fields.{field}", dotted_paths.put, body, path, [""] if field == "images" else "")
        return self

    @model_validator(mode="after")
    def _ways_fit(self) -> "GenericSettings":
        named = self.operation is not None and self.operation.address is not None
        if self.operation is None:
            _need(self.poll is None and self.cancel is None, "poll and cancel need operation.id")
        else:
            _need(named != (self.poll is not None), "say operation.address or poll.path: one of them, not both")
            _need(self.status is not None, "status must say which words mean done and pending")
        for name, path, allowed in (
            ("submit", self.submit.path, "{model}"),
            ("poll", self.poll.path if self.poll else "", "{id}"),
            ("cancel", self.cancel.path if self.cancel else "", "{id}"),
        ):
            _need(".." not in path and "//" not in path, f"{name}.path must not have .. or //")
            strange = [one for one in _PLACEHOLDER.findall(path) if one != allowed]
            _need(not strange, f"{name}.path: {', '.join(strange)} is nothing that can be filled in; {allowed} is")
            _need(name == "submit" or not path or allowed in path, f"{name}.path must have {allowed}")
        _need((self.result.urls is None) != (self.result.base64 is None), "result needs urls or base64, not both")
        _need(self.auth.header.lower() not in map(str.lower, self.headers), "headers must not have auth.header")
        return self

    @model_validator(mode="after")
    def _words_fit(self) -> "GenericSettings":
        if self.status is not None:
            listed = [word for words in self.status.by_meaning().values() for word in words]
            twice = sorted({word for word in listed if listed.count(word) > 1})
            _need(not twice, f"status: {', '.join(twice)} cannot mean two things")
            _need(bool(self.status.pending) or self.operation is None, "status.pending must name a word")
        return self

    @property
    def takes_size(self) -> bool:
        """Whether a size has a field."""
        return "size" in self.submit.fields or "width" in self.submit.fields


class GenericEntry(RemoteEntry):
    """Any vendor whose requests and answers are described by settings."""

    kind: Literal["generic"]
    settings: GenericSettings

    @model_validator(mode="after")
    def _has_address(self) -> "GenericEntry":
        _need(self.base_url is not None, "base_url must be given: it is the only host that gets the key")
        return self


_LISTED = {"aspect_ratio": "aspect_ratios", "quality": "qualities", "output_format": "output_formats"}


def _need(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


def _placed(name: str, place: Callable[..., Any], *where: Any) -> None:
    try:
        place(*where)
    except ValueError as error:
        raise ValueError(f"submit.{name}: {error}") from error


def _json_length(body: Any) -> int:
    try:
        return len(json.dumps(body, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("submit.body must be JSON; put dates into quotes") from error
