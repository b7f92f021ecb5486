"""The span of a provider call, by the conventions for generative AI."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from common.telemetry import registry
from common.tracing import Attributes, set_attributes, span
from services.generator.application.claim import Claim, Interrupted
from services.generator.domain.jobs import Call
from services.generator.domain.provider_results import TokenUsage
from services.generator.ports import ImageProvider, ProviderRequest

OPERATION = "image_generation"


@contextmanager
def call_span(
    claim: Claim, provider: ImageProvider, call: Call, provider_request: ProviderRequest, *, with_prompt: bool
) -> Iterator[None]:
    """Opens the span around a provider call; sets the call's outcome when the block ends.

    With `with_prompt`, the span holds the prompt. It never holds the provider's messages, URLs or images.
    """
    attributes = {**_attributes(claim, call, provider_request), **_server(provider)}
    if with_prompt:
        attributes = {**attributes, registry.GEN_AI_INPUT: _messages(provider_request.request.prompt)}
    with span(registry.PROVIDER_CALL, attributes, interruptions=(Interrupted,)):
        try:
            yield
        finally:
            _set_outcome(claim, call)


def _attributes(claim: Claim, call: Call, provider_request: ProviderRequest) -> Attributes:
    return {
        registry.GEN_AI_OPERATION: OPERATION,
        registry.GEN_AI_PROVIDER: call.provider,
        registry.GEN_AI_MODEL: call.model,
        registry.GEN_AI_OUTPUT: "image",
        registry.GEN_AI_COUNT: provider_request.count if provider_request.count != 1 else None,
        registry.GEN_AI_SEED: provider_request.seed,
        registry.JOB_ID: claim.job.id,
        registry.CALL_ID: call.id,
        registry.IMAGE_SIZE: provider_request.request.size,
        registry.IMAGE_QUALITY: provider_request.request.quality,
    }


def note_usage(usage: TokenUsage) -> None:
    """Notes the tokens of the call whose span is the current one."""
    set_attributes({registry.GEN_AI_INPUT_TOKENS: usage.inputs, registry.GEN_AI_OUTPUT_TOKENS: usage.outputs})


def _server(provider: ImageProvider) -> Attributes:
    """Returns the address of the provider's API; nothing for a provider in this process."""
    host, _, port = (provider.trusted_host or "").rpartition(":")
    return {registry.SERVER_ADDRESS: host, registry.SERVER_PORT: int(port) if port else None}


def _messages(prompt: str) -> str:
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": prompt}]}], ensure_ascii=False)


def _set_outcome(claim: Claim, call: Call) -> None:
    outcome = claim.outcomes.get(call.id)
    if outcome is not None:
        set_attributes(
            {
                registry.CALL_PHASE: outcome.phase,
                registry.CALL_COST_MICROS: outcome.cost_micros,
                registry.GEN_AI_RESPONSE_ID: outcome.operation_id,
            }
        )
