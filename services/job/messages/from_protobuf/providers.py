"""Entries of the catalogue."""

from typing import Any

from calotype.provider.v1 import provider_pb2

from services.job.domain.providers import Capabilities, Model, OptionRule, OptionRules, Provider
from services.job.messages.from_protobuf.values import optional


def provider(message: provider_pb2.Provider) -> Provider:
    """Returns an entry of the catalogue."""
    return Provider(
        name=message.name,
        kind=message.kind,
        is_default=message.is_default,
        default_model=message.default_model,
        models=tuple(
            Model(
                name=model.name,
                price_micros_per_image=optional(model, "price_micros_per_image"),
                capabilities=_capabilities(model.capabilities) if model.HasField("capabilities") else None,
            )
            for model in message.models
        ),
        capabilities=_capabilities(message.capabilities),
        max_concurrency=message.max_concurrency,
        requests_per_minute=message.requests_per_minute,
        timeout_seconds=message.timeout_seconds,
        option_rules=_option_rules(message.option_rules) if message.HasField("option_rules") else None,
        aliases=dict(message.aliases),
    )


def _option_rules(message: provider_pb2.OptionRules) -> OptionRules:
    rules = (
        OptionRule(
            path=rule.path,
            type=rule.type,
            minimum=optional(rule, "minimum"),
            maximum=optional(rule, "maximum"),
            values=tuple(rule.values),
            max_characters=rule.max_characters,
        )
        for rule in message.rules
    )
    return OptionRules(any=message.any, rules=tuple(rules))


def _capabilities(message: provider_pb2.Capabilities) -> Capabilities:
    fields: dict[str, Any] = {
        field.name: tuple(value) if field.is_repeated else value
        for field in message.DESCRIPTOR.fields
        for value in [getattr(message, field.name)]
    }
    return Capabilities(**fields)
