"""Converts the catalogue of providers to JSON views."""

from calotype.error_reasons import Code, Reason
from calotype.provider.v1 import provider_pb2

from gateway.schemas.catalogue import CapabilitiesView, HealthView, ModelView, OptionRuleView, OutageView, ProviderView
from gateway.views.protobuf import failure_code, failure_reason, optional, optional_time


def provider(message: provider_pb2.Provider) -> ProviderView:
    """Returns the view of a provider; protobuf's 0 for an unlimited value becomes null."""
    return ProviderView(
        name=message.name,
        kind=message.kind,
        is_default=message.is_default,
        default_model=message.default_model,
        models=[
            ModelView(
                name=model.name,
                price_micros_per_image=optional(model, "price_micros_per_image"),
                capabilities=_capabilities(model.capabilities) if model.HasField("capabilities") else None,
            )
            for model in message.models
        ],
        aliases=dict(sorted(message.aliases.items())),
        capabilities=_capabilities(message.capabilities),
        max_concurrency=message.max_concurrency or None,
        requests_per_minute=message.requests_per_minute or None,
        timeout_seconds=message.timeout_seconds,
        options=_options(message),
        health=_health(message),
    )


def _options(message: provider_pb2.Provider) -> list[OptionRuleView] | None:
    if message.option_rules.any or not message.HasField("option_rules"):
        return None
    return [
        OptionRuleView(
            path=rule.path,
            type=rule.type,
            minimum=optional(rule, "minimum"),
            maximum=optional(rule, "maximum"),
            values=list(rule.values),
            max_characters=rule.max_characters or None,
        )
        for rule in message.option_rules.rules
    ]


def _health(message: provider_pb2.Provider) -> HealthView:
    outages = [
        OutageView(
            model=outage.model,
            code=failure_code(outage.code) or Code.UNKNOWN,
            reason=failure_reason(outage.reason) or Reason.UNCLASSIFIED,
            since=optional_time(outage, "since"),
            next_try_at=optional_time(outage, "next_try_at"),
        )
        for outage in message.outages
    ]
    is_down = any(outage.model == message.default_model for outage in outages)
    return HealthView(status="down" if is_down else "degraded" if outages else "ok", outages=outages)


def _capabilities(capabilities: provider_pb2.Capabilities) -> CapabilitiesView:
    return CapabilitiesView(
        max_images_per_call=capabilities.max_images_per_call,
        sizes=list(capabilities.sizes),
        aspect_ratios=list(capabilities.aspect_ratios),
        min_side=capabilities.min_side or None,
        max_side=capabilities.max_side or None,
        side_multiple=capabilities.side_multiple or 1,
        max_ratio=capabilities.max_ratio or None,
        output_formats=list(capabilities.output_formats),
        qualities=list(capabilities.qualities),
        backgrounds=list(capabilities.backgrounds),
        output_compression=capabilities.output_compression,
        moderations=list(capabilities.moderations),
        input_fidelities=list(capabilities.input_fidelities),
        seed=capabilities.seed,
        negative_prompt=capabilities.negative_prompt,
        max_input_images=capabilities.max_input_images,
        mask=capabilities.mask,
        resumable=capabilities.resumable,
        cancelable=capabilities.cancelable,
        idempotent=capabilities.idempotent,
        free=capabilities.free,
        max_prompt_characters=capabilities.max_prompt_characters or None,
    )
