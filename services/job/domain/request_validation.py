"""Chooses the provider of a new job, and checks that it and each fallback can do what the request says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from calotype.error_reasons import Reason

from services.job.domain import bounds, option_rules
from services.job.domain.providers import Capabilities, Provider
from services.job.domain.refusals import Refusal, Violation
from services.job.domain.requests import JobRequest

_PAIR = re.compile(r"^([1-9][0-9]{0,4})[x:]([1-9][0-9]{0,4})$")


def choose(
    request: JobRequest, catalogue: Mapping[str, Provider], *, fallbacks: Mapping[str, Provider] | None = None
) -> tuple[Provider, str]:
    """Returns the provider and the model for a request.

    `catalogue` are the providers by name; `fallbacks` are those that may be fallbacks, None for all of them.
    Raises `Refusal`: SERVICE_UNAVAILABLE for an empty catalogue, PROVIDER_NOT_FOUND, INVALID_INPUT with each field
    that the provider or a fallback does not support.
    """
    if not catalogue:
        raise Refusal(Reason.SERVICE_UNAVAILABLE, "No generator offers a provider now.", retry_after_seconds=2)
    provider = _provider(request, catalogue)
    model = request.model or provider.default_model
    provider = provider.as_model(model)
    allowed = catalogue if fallbacks is None else fallbacks
    as_fallbacks = {name: fallback.as_model(fallback.default_model) for name, fallback in allowed.items()}
    bounds.check(
        chain(
            bounds.out_of_bounds(request),
            _unknown_names(request, provider, as_fallbacks),
            _unsupported(request, provider),
            _unsupported_options(request, provider, catalogue),
            option_rules.violations(request.provider_options, provider.option_rules, provider=provider.name),
            _unsupported_by_fallbacks(request, as_fallbacks),
        )
    )
    return provider, model


def _provider(request: JobRequest, catalogue: Mapping[str, Provider]) -> Provider:
    if request.provider is None:
        default = next((provider for provider in catalogue.values() if provider.is_default), None)
        return default or catalogue[min(catalogue)]
    if request.provider not in catalogue:
        known = ", ".join(sorted(catalogue))
        message = f"No generator offers a provider {request.provider[:80]!r}; offered: {known}."
        raise Refusal(Reason.PROVIDER_NOT_FOUND, message, violations=(Violation(field="provider", message=message),))
    return catalogue[request.provider]


def _unknown_names(request: JobRequest, provider: Provider, fallbacks: Mapping[str, Provider]) -> Iterator[Violation]:
    names = [model.name for model in provider.models] or [provider.default_model]
    if request.model is not None and request.model not in names:
        yield Violation(field="model", message=f"{provider.name} has: {', '.join(names)}.")
    for index, name in enumerate(request.fallback):
        if name not in fallbacks:
            yield Violation(field=f"fallback.{index}", message="No generator offers a provider of this name.")


def _unsupported(request: JobRequest, provider: Provider) -> Iterator[Violation]:
    """Yields every field that the provider cannot honour; no field is dropped silently."""
    able = provider.capabilities
    longest = able.max_prompt_characters
    if longest and len(request.prompt) > longest:
        yield Violation(field="prompt", message=f"{provider.name} accepts at most {longest:,} characters.")
    switches = (
        ("negative_prompt", request.negative_prompt is not None and not able.negative_prompt),
        ("seed", request.seed is not None and not able.seed),
        ("mask", request.mask is not None and not able.mask),
    )
    for name, refused in switches:
        if refused:
            yield Violation(field=name, message=f"{provider.name} does not support it.")
    if len(request.input_images) > able.max_input_images:
        yield Violation(field="input_images", message=f"{provider.name} accepts at most {able.max_input_images}.")
    yield from _not_listed("output_format", request.output_format, able.output_formats, provider)
    yield from _not_listed("quality", request.quality, able.qualities, provider)
    yield from _not_listed("aspect_ratio", request.aspect_ratio, able.aspect_ratios, provider)
    if request.size is not None:
        yield from _wrong_size(request.size, provider)


def _unsupported_by_fallbacks(request: JobRequest, catalogue: Mapping[str, Provider]) -> Iterator[Violation]:
    """Yields the first problem of each fallback: it must support the whole request."""
    if request.fallback and request.provider_options:
        message = "Leave them out with fallback: they belong to one provider."
        yield Violation(field="provider_options", message=message)
    for index, name in enumerate(request.fallback):
        if name not in catalogue:
            continue
        fallback = catalogue[name]
        for problem in [*_unsupported(request, fallback), *_unsupported_options(request, fallback, catalogue)][:1]:
            yield Violation(field=f"fallback.{index}", message=f"{problem.field}: {problem.message}")


def lost_options(request: JobRequest, able: Capabilities) -> tuple[str, ...]:
    """Returns the names of given output options that these capabilities do not honour."""
    honoured: Mapping[str, tuple[Any, bool]] = {
        "background": (request.background, request.background in able.backgrounds),
        "output_compression": (request.output_compression, able.output_compression),
        "moderation": (request.moderation, request.moderation in able.moderations),
        "input_fidelity": (request.input_fidelity, request.input_fidelity in able.input_fidelities),
    }
    return tuple(name for name, (value, is_honoured) in honoured.items() if value is not None and not is_honoured)


def _unsupported_options(
    request: JobRequest, provider: Provider, catalogue: Mapping[str, Provider]
) -> Iterator[Violation]:
    for name in lost_options(request, provider.capabilities):
        able = [other.name for other in catalogue.values() if name not in lost_options(request, other.capabilities)]
        others = f"These do: {', '.join(sorted(able))}." if able else "No provider here does."
        value = str(getattr(request, name))[:64]
        yield Violation(field=name, message=f"{provider.name} does not support {value}. {others}")


def _not_listed(name: str, value: str | None, listed: Sequence[str], provider: Provider) -> Iterator[Violation]:
    if value is not None and value not in listed:
        accepted = ", ".join(listed) or "no value"
        yield Violation(field=name, message=f"{provider.name} accepts: {accepted}.")


def _wrong_size(size: str, provider: Provider) -> Iterator[Violation]:
    able = provider.capabilities
    sides = _PAIR.match(size)
    if sides is None or "x" not in size:
        yield Violation(field="size", message="Write WIDTHxHEIGHT in pixels, such as 1024x768.")
    elif able.sizes:
        yield from _not_listed("size", size, able.sizes, provider)
    elif not able.max_side:
        instead = f" Name an aspect_ratio: {', '.join(able.aspect_ratios)}." if able.aspect_ratios else ""
        yield Violation(field="size", message=f"{provider.name} has no size to choose.{instead}")
    else:
        multiple = max(able.side_multiple, 1)
        width, height = map(int, sides.groups())
        if any(not able.min_side <= side <= able.max_side or side % multiple for side in (width, height)):
            message = f"{provider.name} accepts sides of {able.min_side} to {able.max_side} pixels"
            yield Violation(field="size", message=f"{message}, multiples of {multiple}.")
        elif able.max_ratio and max(width, height) > able.max_ratio * min(width, height):
            message = f"{provider.name} accepts a longer side of at most {able.max_ratio:g} times the shorter one."
            yield Violation(field="size", message=message)
