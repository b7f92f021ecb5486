"""Checks of what callers send against its size limits, for every protocol."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from calotype.error_reasons import Reason
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

from services.job.domain.refusals import Refusal, Violation
from services.job.domain.requests import InputImage, JobRequest

MAX_SEED = 2**63 - 1
#: Levels of nesting of provider options.
MAX_OPTIONS_DEPTH = 24
#: A gRPC status with more violations would exceed the 8 KiB that gRPC allows for it.
MAX_VIOLATIONS = 16
#: Longest value in characters of each one-line field of a request.
LONGEST = {
    "provider": MAX_PROVIDER_CHARACTERS,
    "model": MAX_MODEL_CHARACTERS,
    "size": 64,
    "aspect_ratio": 64,
    "quality": MAX_QUALITY_CHARACTERS,
    "output_format": 64,
    "background": 64,
    "moderation": 64,
    "input_fidelity": 64,
    "end_user": MAX_END_USER_CHARACTERS,
}
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_NOT_ONE_LINE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_IMAGE_TYPE = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,62}")


def check(violations: Iterable[Violation]) -> None:
    """Raises `Refusal` INVALID_INPUT with the first violations, if there are any."""
    reported = tuple(islice(violations, MAX_VIOLATIONS))
    if reported:
        raise Refusal(Reason.INVALID_INPUT, f"{reported[0].field}: {reported[0].message}", violations=reported)


def out_of_bounds(request: JobRequest) -> Iterator[Violation]:
    """Yields a violation for every field that is invalid at any provider."""
    yield from _prompts_out_of_bounds(request)
    for name, longest in LONGEST.items():
        if (value := getattr(request, name)) is not None:
            yield from line(name, value, longest=longest)
    yield from _numbers_out_of_bounds(request)
    yield from _contradictions(request)
    if len(request.fallback) > MAX_FALLBACKS:
        yield Violation(field="fallback", message=f"At most {MAX_FALLBACKS}.")
    for index, name in enumerate(request.fallback[:MAX_FALLBACKS]):
        yield from line(f"fallback.{index}", name, longest=MAX_PROVIDER_CHARACTERS)
    if request.callback_url is not None:
        yield from _address_faults("callback_url", request.callback_url)
    yield from labels("metadata", request.metadata)
    yield from _options_out_of_bounds(request.provider_options)
    yield from _inputs_out_of_bounds(request)


def line(field: str, value: str, *, longest: int, shortest: int = 1) -> Iterator[Violation]:
    """Yields a violation unless the value is one line of `shortest` to `longest` characters."""
    if not shortest <= len(value) <= longest:
        yield Violation(field=field, message=f"{shortest} to {longest} characters.")
    elif _NOT_ONE_LINE.search(value):
        yield Violation(field=field, message="Must be one line without control characters.")


def labels(field: str, metadata: Mapping[str, str]) -> Iterator[Violation]:
    """Yields a violation for each entry that cannot be metadata of a job."""
    if len(metadata) > MAX_METADATA_ENTRIES:
        yield Violation(field=field, message=f"At most {MAX_METADATA_ENTRIES} entries.")
        return
    for key, value in metadata.items():
        shown = key[:MAX_METADATA_KEY_CHARACTERS]
        name = f"{field}.{shown!r}" if _NOT_ONE_LINE.search(key) else f"{field}.{shown}"
        if not 1 <= len(key) <= MAX_METADATA_KEY_CHARACTERS or len(value) > MAX_METADATA_VALUE_CHARACTERS:
            message = (
                f"Keys 1 to {MAX_METADATA_KEY_CHARACTERS}, values up to {MAX_METADATA_VALUE_CHARACTERS} characters."
            )
            yield Violation(field=name, message=message)
        elif _NOT_ONE_LINE.search(key) or _UNSTORABLE.search(value):
            yield Violation(field=name, message="Contains a control character.")


def _prompts_out_of_bounds(request: JobRequest) -> Iterator[Violation]:
    for name, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
        if text is None:
            continue
        if not 1 <= len(text) <= MAX_PROMPT_CHARACTERS:
            yield Violation(field=name, message=f"1 to {MAX_PROMPT_CHARACTERS:,} characters.")
        elif _UNSTORABLE.search(text):
            yield Violation(field=name, message="Contains a control character.")


def _numbers_out_of_bounds(request: JobRequest) -> Iterator[Violation]:
    if not 1 <= request.n <= MAX_IMAGES:
        yield Violation(field="n", message=f"1 to {MAX_IMAGES}.")
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        yield Violation(field="seed", message="0 to 2^63-1.")
    if request.output_compression is not None and not 0 <= request.output_compression <= 100:
        yield Violation(field="output_compression", message="0 to 100.")
    for name in ("start_within_seconds", "finish_within_seconds"):
        seconds = getattr(request, name)
        if seconds is not None and seconds < 1:
            yield Violation(field=name, message="At least 1.")


def _contradictions(request: JobRequest) -> Iterator[Violation]:
    """Yields a violation for each field that contradicts another one, at any provider."""
    if request.size is not None and request.aspect_ratio is not None:
        yield Violation(field="aspect_ratio", message="Name a size or an aspect ratio, not both.")
    if request.background == "transparent" and request.output_format == "jpeg":
        yield Violation(field="background", message="jpeg has no transparency: use png or webp.")
    if request.output_compression is not None and request.output_format == "png":
        yield Violation(field="output_compression", message="png has no lossy compression: use jpeg or webp.")
    for name in ("mask", "input_fidelity"):
        if getattr(request, name) is not None and not request.input_images:
            yield Violation(field=name, message="Needs input_images.")


def _options_out_of_bounds(options: Mapping[str, Any]) -> Iterator[Violation]:
    # Checked first: the check is bounded in depth, and accepts only values that can be written as JSON.
    message = _options_fault(dict(options), 1)
    if message is None and len(json.dumps(dict(options))) > MAX_OPTIONS_BYTES:
        message = f"At most {MAX_OPTIONS_BYTES:,} bytes."
    if message is not None:
        yield Violation(field="provider_options", message=message)


def _options_fault(value: Any, depth: int) -> str | None:
    """Returns what is wrong with a JSON value at this level of nesting; None for nothing."""
    if depth > MAX_OPTIONS_DEPTH:
        return f"At most {MAX_OPTIONS_DEPTH} levels."
    if isinstance(value, str):
        return "Contains a control character." if _UNSTORABLE.search(value) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else "Contains a number that is not finite."
    inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((fault for item in inner if (fault := _options_fault(item, depth + 1)) is not None), None)


def _inputs_out_of_bounds(request: JobRequest) -> Iterator[Violation]:
    if len(request.input_images) > MAX_INPUT_IMAGES:
        yield Violation(field="input_images", message=f"At most {MAX_INPUT_IMAGES}.")
        return
    named = [(f"input_images.{index}", image) for index, image in enumerate(request.input_images)]
    if request.mask is not None:
        named.append(("mask", request.mask))
    for name, image in named:
        yield from _input_faults(name, image)
    if sum(image.size_bytes for _, image in named) > MAX_INPUT_BYTES_TOGETHER:
        yield Violation(field="input_images", message=f"At most {MAX_INPUT_BYTES_TOGETHER:,} bytes together.")


def _input_faults(name: str, image: InputImage) -> Iterator[Violation]:
    if image.url is not None:
        yield from _address_faults(f"{name}.url", image.url)
    elif image.size_bytes == 0:
        yield Violation(field=name, message="Needs a url or data.")
    if image.size_bytes > MAX_INPUT_BYTES:
        yield Violation(field=name, message=f"At most {MAX_INPUT_BYTES:,} bytes.")
    if image.content_type and not _IMAGE_TYPE.fullmatch(image.content_type):
        yield Violation(field=f"{name}.content_type", message="Write it as image/png.")


def _address_faults(field: str, url: str) -> Iterator[Violation]:
    if len(url) > MAX_URL_CHARACTERS:
        yield Violation(field=field, message=f"At most {MAX_URL_CHARACTERS:,} characters.")
    elif not _is_web_address(url):
        yield Violation(field=field, message="Must be an http or https address without credentials or spaces.")


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Raises for a port that is no number of 0 to 65535.
        _ = parts.port
    except ValueError:
        return False
    if _NOT_ONE_LINE.search(url) or any(character.isspace() for character in url) or "@" in parts.netloc:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
