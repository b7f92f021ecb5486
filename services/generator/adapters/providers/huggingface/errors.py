"""Classifies responses of Hugging Face's router that have no image: exactly one error each."""

import math
from collections.abc import Mapping
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.error_messages import is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.adapters.providers.replicate import errors
from services.generator.domain.provider_results import Acceptance, ProviderError

#: A longer estimate of a model's loading time is cut to this.
MAX_LOADING_SECONDS = 3600.0


def _is_of_the_model(sentence: str) -> bool:
    """Returns whether the error is about the model in the provider file, and not about a field of the request."""
    return "not supported by provider" in sentence or "does not exist" in sentence


def _is_loading(sentence: str) -> bool:
    return "is currently loading" in sentence or "estimated_time" in sentence


#: Most specific first: the text where the status is not enough, then the status. A response that no rule fits may have
#: been carried out.
RULES = (
    # A model that still loads has made nothing. https://github.com/huggingface/transformers/issues/23793
    Rule(status=503, words=_is_loading, code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE, retryable=True),
    *(
        Rule(
            status=status,
            words=is_refusal,
            code=Code.PERMANENT,
            reason=Reason.CONTENT_POLICY,
            acceptance=Acceptance.ACCEPTED,
        )
        for status in (400, 403, 422)
    ),
    *(
        Rule(status=status, words=_is_of_the_model, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED)
        for status in (400, 422)
    ),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    # https://huggingface.co/docs/inference-providers/pricing
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=410, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=504, code=Code.TIMEOUT, reason=Reason.PROVIDER_TIMEOUT, retryable=True, acceptance=Acceptance.UNKNOWN),
)


def refusal_of(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of a response that is no success."""
    return classify(name, response, RULES, retry_after=_until_loaded(response))


def no_image(name: str, response: ProviderResponse, body: Any) -> ProviderError:
    """Returns the error of a success without an image; a failed Replicate prediction has its own."""
    if isinstance(body, dict) and body.get("status") == "failed":
        return errors.failure_of(name, body)
    if is_flagged(body) or is_refusal(response.text):
        return ProviderError(
            code=Code.PERMANENT,
            reason=Reason.CONTENT_POLICY,
            message=MESSAGES[Reason.CONTENT_POLICY].format(name=name),
            retryable=False,
            acceptance=Acceptance.ACCEPTED,
            vendor=response.evidence(),
        )
    return ProviderError(
        code=Code.UNKNOWN,
        reason=Reason.UNCLASSIFIED,
        message=f"{name} returned a success without an image.",
        retryable=False,
        # The call may still go on, and cannot be polled.
        acceptance=Acceptance.UNKNOWN,
        vendor=response.evidence(),
    )


def is_flagged(body: Any) -> bool:
    """Returns whether the model's safety checker flagged its images, which it then replaced."""
    flags = body.get("has_nsfw_concepts") if isinstance(body, Mapping) else None
    return isinstance(flags, list) and any(flag is True for flag in flags)


def _until_loaded(response: ProviderResponse) -> float | None:
    """Returns the seconds until the model is loaded, as the response estimates them; None without an estimate."""
    body = response.json()
    seconds = body.get("estimated_time") if isinstance(body, dict) else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not math.isfinite(seconds) or seconds <= 0:
        return None
    return float(min(seconds, MAX_LOADING_SECONDS))
