"""Entries of the catalogue."""

import dataclasses
from collections.abc import Iterable

from calotype.error.v1 import error_pb2
from calotype.provider.v1 import provider_pb2

from services.job.domain.circuit_breakers import Breaker
from services.job.domain.providers import Capabilities, OptionRules, Provider
from services.job.messages.enums import number, reason_number

CAPABILITIES = tuple(field.name for field in provider_pb2.Capabilities.DESCRIPTOR.fields)


def provider(value: Provider, breakers: Iterable[Breaker] = ()) -> provider_pb2.Provider:
    """Returns an entry of the catalogue, with an outage for each of its models whose breaker is open."""
    return provider_pb2.Provider(
        name=value.name,
        kind=value.kind,
        is_default=value.is_default,
        default_model=value.default_model,
        models=[
            provider_pb2.Model(
                name=model.name,
                price_micros_per_image=model.price_micros_per_image,
                capabilities=None if model.capabilities is None else _capabilities(model.capabilities),
            )
            for model in value.models
        ],
        capabilities=_capabilities(value.capabilities),
        max_concurrency=value.max_concurrency,
        requests_per_minute=value.requests_per_minute,
        timeout_seconds=value.timeout_seconds,
        option_rules=None if value.option_rules is None else _option_rules(value.option_rules),
        aliases=value.aliases,
        outages=[_outage(breaker) for breaker in breakers if breaker.provider == value.name and breaker.opened_at],
    )


def _option_rules(value: OptionRules) -> provider_pb2.OptionRules:
    return provider_pb2.OptionRules(
        any=value.any, rules=[provider_pb2.OptionRule(**dataclasses.asdict(rule)) for rule in value.rules]
    )


def _capabilities(value: Capabilities) -> provider_pb2.Capabilities:
    return provider_pb2.Capabilities(**{name: getattr(value, name) for name in CAPABILITIES})


def _outage(breaker: Breaker) -> provider_pb2.Outage:
    message = provider_pb2.Outage(
        model=breaker.model,
        code=number(error_pb2.Code, "CODE", breaker.code),
        reason=reason_number(breaker.reason),
    )
    for name, moment in (("since", breaker.opened_at), ("next_try_at", breaker.open_until)):
        if moment is not None:
            getattr(message, name).FromDatetime(moment)
    return message
