"""Where a job is sent: whether the chosen provider, and each fallback, can do all that is asked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from services.job.domain import bounds, option_rules
from services.job.domain.providers import Capabilities, Provider
from services.job.domain.refusals import Refusal, Violation
from services.job.domain.requests import JobRequest

_PAIR = re.compile(r"^([1-9][0-9]{0,4})[x:]([1-9][0-9]{0,4})$")


def choose(
    request: JobRequest, catalogue: Mapping[str, Provider], *, fallbacks: Mapping[str, Provider] | None = None
) -> tuple[Provider, str]:
    """Route a request: the provider and the model that it will be sent to; `fallbacks` where not each may be one.

    Raises `Refusal` when there is no catalogue yet, or when a field goes beyond what the provider can do.
    """
    if not catalogue:
        raise Refusal("SERVICE_UNAVAILABLE", "No generator offers a provider now.", retry_after_seconds=2)
    provider = _provider(request, catalogue)
    model = request.model or provider.default_model
    provider = provider.as_model(model)
    around = catalogue if fallbacks is None else fallbacks
    ways_around = {name: one.as_model(one.default_model) for name, one in around.items()}
    bounds.check(
        chain(
            bounds.out_of_bounds(request),
            _unknown_names(request, provider, ways_around),
            _beyond(request, provider),
            _options_beyond(request, provider, catalogue),
            option_rules.violations(request.provider_options, provider.option_rules, provider=provider.name),
            _beyond_fallbacks(request, ways_around),
        )
    )
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


def _unknown_names(request: JobRequest, provider: Provider, fallbacks: Mapping[str, Provider]) -> Iterator[Violation]:
    names = [model.name for model in provider.models] or [provider.default_model]
    if request.model is not None and request.model not in names:
        yield Violation(field="model", message=f"{provider.name} has: {', '.join(names)}.")
    for place, name in enumerate(request.fallback):
        if name not in fallbacks:
            yield Violation(field=f"fallback.{place}", message="No generator offers such a provider.")


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
        yield Violation(
            field=name, message=f"{provider.name} does not take {str(getattr(request, name))[:64]}. {there}"
        )


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
