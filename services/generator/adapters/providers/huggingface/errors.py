"""What answers of Hugging Face's router mean when they are not images: exactly one classified error each."""

import math
from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.http.error_words import is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify
from services.generator.adapters.providers.http.responses import Answer
from services.generator.adapters.providers.replicate import errors
from services.generator.domain.provider_results import Acceptance, ProviderError

#: Longest time to load that is believed.
MOST_SECONDS = 3600.0


def _is_of_the_model(sentence: str) -> bool:
    """Whether the model in the provider file is meant, and nothing that a caller chose."""
    return "not supported by provider" in sentence or "does not exist" in sentence


def _is_loading(sentence: str) -> bool:
    return "is currently loading" in sentence or "estimated_time" in sentence


#: In the order of specificity: words where the status is not enough, then the status. What no rule knows may have been
#: carried out.
RULES = (
    # A model that is not there yet has made nothing. https://github.com/huggingface/transformers/issues/23793
    Rule(status=503, words=_is_loading, code="TEMPORARY", reason="PROVIDER_UNAVAILABLE", retryable=True),
    *(
        Rule(
            status=status,
            words=is_refusal,
            code="PERMANENT",
            reason="CONTENT_POLICY",
            acceptance=Acceptance.ACCEPTED,
        )
        for status in (400, 403, 422)
    ),
    *(
        Rule(status=status, words=_is_of_the_model, code="PERMANENT", reason="PROVIDER_REJECTED")
        for status in (400, 422)
    ),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    # https://huggingface.co/docs/inference-providers/pricing
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=410, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=504, code="TIMEOUT", reason="PROVIDER_TIMEOUT", retryable=True, acceptance=Acceptance.UNKNOWN),
)


def refusal_of(name: str, answer: Answer) -> ProviderError:
    """The error of an answer that is no success."""
    return classify(name, answer, RULES, retry_after=_until_loaded(answer))


def no_image(name: str, answer: Answer, told: Any) -> ProviderError:
    """A success without an image; a prediction tells why by itself."""
    if isinstance(told, dict) and told.get("status") == "failed":
        return errors.failure_of(name, told)
    if is_flagged(told) or is_refusal(answer.text):
        return ProviderError(
            code="PERMANENT",
            reason="CONTENT_POLICY",
            message=MESSAGES["CONTENT_POLICY"].format(name=name),
            retryable=False,
            acceptance=Acceptance.ACCEPTED,
            vendor=answer.evidence(),
        )
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered without an image.",
        retryable=False,
        # It goes on, perhaps, where nobody can look.
        acceptance=Acceptance.UNKNOWN,
        vendor=answer.evidence(),
    )


def is_flagged(told: Any) -> bool:
    """Whether a model's own filter has put another picture in place of what it made."""
    flags = told.get("has_nsfw_concepts") if isinstance(told, Mapping) else None
    return isinstance(flags, list) and any(flag is True for flag in flags)


def _until_loaded(answer: Answer) -> float | None:
    """Seconds until the model is there, as the answer tells them."""
    body = answer.json()
    told = body.get("estimated_time") if isinstance(body, dict) else None
    if not isinstance(told, int | float) or isinstance(told, bool) or not math.isfinite(told) or told <= 0:
        return None
    return float(min(told, MOST_SECONDS))
