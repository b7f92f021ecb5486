"""What a caller asks for, and whether the chosen provider can do it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any

from services.job.domain.failures import Refusal, Violation

MAX_PROMPT = 32_000
MAX_IMAGES = 10
MAX_FALLBACKS = 5
MAX_INPUTS = 8
MAX_INPUT_BYTES = 20 * 1024 * 1024
MAX_INPUT_BYTES_TOGETHER = 40 * 1024 * 1024
MAX_METADATA = 16
MAX_SEED = 2**63 - 1
_PAIR = re.compile(r"^([1-9][0-9]{0,4})[x:]([1-9][0-9]{0,4})$")


class Priority(IntEnum):
    """Order among a tenant's own jobs; lower is earlier."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class OnAmbiguous(StrEnum):
    """What to do when a paid call's outcome is unknown."""

    FAIL = "fail"
    RETRY = "retry"


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """A picture that the caller brought: an address, or bytes that lie in `job_inputs`."""

    url: str | None = None
    content_type: str = ""
    sha256: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A request as accepted."""

    prompt: str
    negative_prompt: str | None = None
    provider: str | None = None
    model: str | None = None
    fallback: tuple[str, ...] = ()
    n: int = 1
    size: str | None = None
    aspect_ratio: str | None = None
    seed: int | None = None
    quality: str | None = None
    output_format: str | None = None
    input_images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    start_within_seconds: int | None = None
    finish_within_seconds: int | None = None
    on_ambiguous: OnAmbiguous = OnAmbiguous.FAIL
    fallback_on_refusal: bool = False
    callback_url: str | None = None
    end_user: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a provider can do; the meaning of each field stands in `calotype.provider.v1.Capabilities`."""

    max_images_per_call: int = 1
    sizes: tuple[str, ...] = ()
    aspect_ratios: tuple[str, ...] = ()
    min_side: int = 0
    max_side: int = 0
    side_multiple: int = 1
    output_formats: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    seed: bool = False
    negative_prompt: bool = False
    max_input_images: int = 0
    mask: bool = False
    resumable: bool = False
    cancelable: bool = False
    idempotent: bool = False
    free: bool = False
    max_prompt_characters: int = 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of a provider."""

    name: str
    price_micros_per_image: int | None = None
    #: None where they are those of its provider.
    capabilities: Capabilities | None = None


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One entry of the catalogue."""

    name: str
    kind: str
    is_default: bool
    default_model: str
    models: tuple[Model, ...] = ()
    capabilities: Capabilities = Capabilities()
    max_concurrency: int = 0
    requests_per_minute: int = 0
    timeout_seconds: int = 300

    def as_model(self, name: str) -> "Provider":
        """The provider as it is for those who ask for this model."""
        own = next((model.capabilities for model in self.models if model.name == name), None)
        return self if own is None else replace(self, capabilities=own)


def choose(request: JobRequest, catalogue: Mapping[str, Provider]) -> tuple[Provider, str]:
    """Route a request: the provider and the model that it will be sent to.

    Raises `Refusal` when there is no catalogue yet, or when a field goes beyond what the provider can do.
    """
    if not catalogue:
        raise Refusal("SERVICE_UNAVAILABLE", "No generator offers a provider now.", retry_after_seconds=2)
    provider = _provider(request, catalogue)
    model = request.model or provider.default_model
    provider = provider.as_model(model)
    ways_around = {name: one.as_model(one.default_model) for name, one in catalogue.items()}
    violations = (
        *_out_of_bounds(request),
        *_unknown_names(request, provider, catalogue),
        *_beyond(request, provider),
        *_beyond_fallbacks(request, ways_around),
    )
    if violations:
        first = violations[0]
        raise Refusal("INVALID_INPUT", f"{first.field}: {first.message}", violations=violations)
    return provider, model


def _provider(request: JobRequest, catalogue: Mapping[str, Provider]) -> Provider:
    if request.provider is None:
        default = next((one for one in catalogue.values() if one.is_default), None)
        return default or catalogue[min(catalogue)]
    if request.provider not in catalogue:
        known = ", ".join(sorted(catalogue))
        message = f"No generator offers a provider {request.provider[:80]!r}; offered: {known}."
        raise Refusal("PROVIDER_NOT_FOUND", message, violations=(Violation(field="provider", message=message),))
    return catalogue[request.provider]


def _unknown_names(request: JobRequest, provider: Provider, catalogue: Mapping[str, Provider]) -> Iterator[Violation]:
    names = [model.name for model in provider.models]
    if request.model is not None and names and request.model not in names:
        yield Violation(field="model", message=f"{provider.name} has: {', '.join(names)}.")
    for place, name in enumerate(request.fallback):
        if name not in catalogue:
            yield Violation(field=f"fallback.{place}", message="No generator offers such a provider.")


def _out_of_bounds(request: JobRequest) -> Iterator[Violation]:
    if not 1 <= len(request.prompt) <= MAX_PROMPT:
        yield Violation(field="prompt", message=f"1 to {MAX_PROMPT:,} characters.")
    if not 1 <= request.n <= MAX_IMAGES:
        yield Violation(field="n", message=f"1 to {MAX_IMAGES}.")
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        yield Violation(field="seed", message="0 to 2^63-1.")
    if request.size is not None and request.aspect_ratio is not None:
        yield Violation(field="aspect_ratio", message="Name a size or an aspect ratio, not both.")
    if len(request.fallback) > MAX_FALLBACKS:
        yield Violation(field="fallback", message=f"At most {MAX_FALLBACKS}.")
    for name in ("start_within_seconds", "finish_within_seconds"):
        seconds = getattr(request, name)
        if seconds is not None and seconds < 1:
            yield Violation(field=name, message="At least 1.")
    if request.end_user is not None and not 1 <= len(request.end_user) <= 128:
        yield Violation(field="end_user", message="1 to 128 characters.")
    yield from _metadata_out_of_bounds(request)
    yield from _inputs_out_of_bounds(request)


def _metadata_out_of_bounds(request: JobRequest) -> Iterator[Violation]:
    if len(request.metadata) > MAX_METADATA:
        yield Violation(field="metadata", message=f"At most {MAX_METADATA} entries.")
    for key, value in request.metadata.items():
        if not 1 <= len(key) <= 40 or len(value) > 500:
            yield Violation(field=f"metadata.{key[:40]}", message="Keys 1 to 40, values up to 500 characters.")


def _inputs_out_of_bounds(request: JobRequest) -> Iterator[Violation]:
    if len(request.input_images) > MAX_INPUTS:
        yield Violation(field="input_images", message=f"At most {MAX_INPUTS}.")
    named = [(f"input_images.{place}", image) for place, image in enumerate(request.input_images)]
    if request.mask is not None:
        named.append(("mask", request.mask))
    for name, image in named:
        if image.url is None and image.size_bytes == 0:
            yield Violation(field=name, message="A url or data is needed.")
        if image.size_bytes > MAX_INPUT_BYTES:
            yield Violation(field=name, message=f"At most {MAX_INPUT_BYTES:,} bytes.")
    if sum(image.size_bytes for _, image in named) > MAX_INPUT_BYTES_TOGETHER:
        yield Violation(field="input_images", message=f"At most {MAX_INPUT_BYTES_TOGETHER:,} bytes together.")


def _beyond(request: JobRequest, provider: Provider) -> Iterator[Violation]:
    """Name every field that the provider cannot honour; nothing is dropped silently."""
    able = provider.capabilities
    longest = able.max_prompt_characters
    if longest and len(request.prompt) > longest:
        yield Violation(field="prompt", message=f"{provider.name} takes at most {longest:,} characters.")
    switches = (
        ("negative_prompt", request.negative_prompt is not None and not able.negative_prompt),
        ("seed", request.seed is not None and not able.seed),
        ("mask", request.mask is not None and not able.mask),
    )
    for name, refused in switches:
        if refused:
            yield Violation(field=name, message=f"{provider.name} does not take one.")
    if len(request.input_images) > able.max_input_images:
        yield Violation(field="input_images", message=f"{provider.name} takes at most {able.max_input_images}.")
    yield from _not_listed("output_format", request.output_format, able.output_formats, provider)
    yield from _not_listed("quality", request.quality, able.qualities, provider)
    yield from _not_listed("aspect_ratio", request.aspect_ratio, able.aspect_ratios, provider)
    if request.size is not None:
        yield from _wrong_size(request.size, provider)


def _beyond_fallbacks(request: JobRequest, catalogue: Mapping[str, Provider]) -> Iterator[Violation]:
    """A fallback has to be able to do all that the provider can be asked for."""
    if request.fallback and request.provider_options:
        yield Violation(field="provider_options", message="Leave them out with fallback: they are of one provider.")
    for place, name in enumerate(request.fallback):
        if name in catalogue and (problem := next(_beyond(request, catalogue[name]), None)) is not None:
            yield Violation(field=f"fallback.{place}", message=f"{problem.field}: {problem.message}")


def _not_listed(name: str, value: str | None, listed: Sequence[str], provider: Provider) -> Iterator[Violation]:
    if value is not None and value not in listed:
        can = ", ".join(listed) or "none that can be chosen"
        yield Violation(field=name, message=f"{provider.name} takes: {can}.")


def _wrong_size(size: str, provider: Provider) -> Iterator[Violation]:
    able = provider.capabilities
    sides = _PAIR.match(size)
    if sides is None or "x" not in size:
        yield Violation(field="size", message="Write WIDTHxHEIGHT in pixels, such as 1024x768.")
    elif able.sizes:
        yield from _not_listed("size", size, able.sizes, provider)
    elif not able.max_side:
        instead = f" Name an aspect_ratio: {', '.join(able.aspect_ratios)}." if able.aspect_ratios else ""
        yield Violation(field="size", message=f"{provider.name} does not let its size be chosen.{instead}")
    else:
        multiple = max(able.side_multiple, 1)
        for side in map(int, sides.groups()):
            if not able.min_side <= side <= able.max_side or side % multiple:
                message = f"{provider.name} takes sides of {able.min_side} to {able.max_side} pixels"
                yield Violation(field="size", message=f"{message}, multiples of {multiple}.")
                return
