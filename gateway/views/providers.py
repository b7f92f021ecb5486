"""The catalogue of providers as JSON."""

from typing import Any, cast

from calotype.error.v1 import error_pb2
from calotype.provider.v1 import provider_pb2

from gateway.schemas.catalogue import CapabilitiesView, HealthView, ModelView, OptionRuleView, OutageView, ProviderView
from gateway.views.protobuf import given, moment, name


def provider(one: provider_pb2.Provider) -> ProviderView:
    """One provider; a limit of 0 means that there is none."""
    return ProviderView(
        name=one.name,
        kind=one.kind,
        is_default=one.is_default,
        default_model=one.default_model,
        models=[
            ModelView(
                name=model.name,
                price_micros_per_image=given(model, "price_micros_per_image"),
                capabilities=_capabilities(model.capabilities) if model.HasField("capabilities") else None,
            )
            for model in one.models
        ],
        capabilities=_capabilities(one.capabilities),
        max_concurrency=one.max_concurrency or None,
        requests_per_minute=one.requests_per_minute or None,
        timeout_seconds=one.timeout_seconds,
        options=_options(one),
        health=_health(one),
    )


def _options(one: provider_pb2.Provider) -> list[OptionRuleView] | None:
    if one.option_rules.any or not one.HasField("option_rules"):
        return None
    return [
        OptionRuleView(
            path=rule.path,
            type=rule.type,
            minimum=given(rule, "minimum"),
            maximum=given(rule, "maximum"),
            values=list(rule.values),
            max_characters=rule.max_characters or None,
        )
        for rule in one.option_rules.rules
    ]


def _health(one: provider_pb2.Provider) -> HealthView:
    outages = [
        OutageView(
            model=outage.model,
            code=cast("Any", name(error_pb2.Code, "CODE", outage.code) or "UNKNOWN"),
            reason=name(error_pb2.Reason, "REASON", outage.reason) or "UNCLASSIFIED",
            since=moment(outage, "since"),
            next_try_at=moment(outage, "next_try_at"),
        )
        for outage in one.outages
    ]
    is_down = any(outage.model == one.default_model for outage in outages)
    return HealthView(status="down" if is_down else "degraded" if outages else "ok", outages=outages)


def _capabilities(able: provider_pb2.Capabilities) -> CapabilitiesView:
    return CapabilitiesView(
        max_images_per_call=able.max_images_per_call,
        sizes=list(able.sizes),
        aspect_ratios=list(able.aspect_ratios),
        min_side=able.min_side or None,
        max_side=able.max_side or None,
        side_multiple=able.side_multiple or 1,
        max_ratio=able.max_ratio or None,
        output_formats=list(able.output_formats),
        qualities=list(able.qualities),
        backgrounds=list(able.backgrounds),
        output_compression=able.output_compression,
        moderations=list(able.moderations),
        input_fidelities=list(able.input_fidelities),
        seed=able.seed,
        negative_prompt=able.negative_prompt,
        max_input_images=able.max_input_images,
        mask=able.mask,
        resumable=able.resumable,
        cancelable=able.cancelable,
        idempotent=able.idempotent,
        free=able.free,
        max_prompt_characters=able.max_prompt_characters or None,
    )
