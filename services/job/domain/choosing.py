"""Where a job is sent: whether the chosen provider, and each fallback, can do all that is asked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.job.domain import option_rules
from services.job.domain.failures import Refusal, Violation
from services.job.domain.requests import Capabilities, JobRequest, Provider

MAX_PROMPT = 32_000
MAX_IMAGES = 10
MAX_FALLBACKS = 5
MAX_INPUTS = 16
MAX_INPUT_BYTES = 20 * 1024 * 1024
MAX_INPUT_BYTES_TOGETHER = 40 * 1024 * 1024
MAX_METADATA = 16
MAX_SEED = 2**63 - 1
_PAIR = re.compile(r"^([1-9][0-9]{0,4})[x:]([1-9][0-9]{0,4})$")


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
        *_options_beyond(request, provider, catalogue),
        *option_rules.violations(request.provider_options, provider.option_rules, provider=provider.name),
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
    names = [model.name for model in provider.models] or [provider.default_model]
    if request.model is not None and request.model not in names:
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
    if request.output_compression is not None and not 0 <= request.output_compression <= 100:
        yield Violation(field="output_compression", message="0 to 100.")
    yield from _contradictions(request)
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


def _contradictions(request: JobRequest) -> Iterator[Violation]:
    """Fields that make no sense together, whoever is asked."""
    if request.size is not None and request.aspect_ratio is not None:
        yield Violation(field="aspect_ratio", message="Name a size or an aspect ratio, not both.")
    if request.background == "transparent" and request.output_format == "jpeg":
        yield Violation(field="background", message="jpeg has no transparency: name png or webp.")
    if request.output_compression is not None and request.output_format == "png":
        yield Violation(field="output_compression", message="png is never compressed with loss: name jpeg or webp.")
    for name in ("mask", "input_fidelity"):
        if getattr(request, name) is not None and not request.input_images:
            yield Violation(field=name, message="It is for jobs with input_images.")


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
        if name not in catalogue:
            continue
        able = catalogue[name]
        for problem in [*_beyond(request, able), *_options_beyond(request, able, catalogue)][:1]:
            yield Violation(field=f"fallback.{place}", message=f"{problem.field}: {problem.message}")


def lost_options(request: JobRequest, able: Capabilities) -> tuple[str, ...]:
    """Fields of a request that say how a picture is drawn, and that a provider would drop."""
    honoured: Mapping[str, tuple[Any, bool]] = {
        "background": (request.background, request.background in able.backgrounds),
        "output_compression": (request.output_compression, able.output_compression),
        "moderation": (request.moderation, request.moderation in able.moderations),
        "input_fidelity": (request.input_fidelity, request.input_fidelity in able.input_fidelities),
    }
    return tuple(name for name, (value, is_honoured) in honoured.items() if value is not None and not is_honoured)


def _options_beyond(request: JobRequest, provider: Provider, catalogue: Mapping[str, Provider]) -> Iterator[Violation]:
    for name in lost_options(request, provider.capabilities):
        able = [one.name for one in catalogue.values() if name not in lost_options(request, one.capabilities)]
        there = f"These do: {', '.join(sorted(able))}." if able else "No provider here does."
        yield Violation(field=name, message=f"{provider.name} does not take {getattr(request, name)}. {there}")


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
        width, height = map(int, sides.groups())
        if any(not able.min_side <= side <= able.max_side or side % multiple for side in (width, height)):
            message = f"{provider.name} takes sides of {able.min_side} to {able.max_side} pixels"
            yield Violation(field="size", message=f"{message}, multiples of {multiple}.")
        elif able.max_ratio and max(width, height) > able.max_ratio * min(width, height):
            message = f"{provider.name} takes a longer side of at most {able.max_ratio:g} times the shorter one."
            yield Violation(field="size", message=message)
