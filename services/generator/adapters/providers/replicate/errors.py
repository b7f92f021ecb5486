"""What Replicate's answers mean when they are not images: exactly one classified error each."""

import json
import re
from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.http.error_words import is_passing, is_refusal
from services.generator.adapters.providers.http.errors import Rule
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

#: The vendor's own codes at the end of its sentences. https://replicate.com/docs/reference/error-codes
_CODE = re.compile(r"\b(E\d{3,4})\b")
#: Load, starts that took too long, workers that ended: another try may go better.
_PASSING = frozenset({"E1000", "E1001", "E6716", "E8367", "E8765", "E9243", "E9825", "E001", "E003", "E004"})
_REFUSED = frozenset({"E005"})
_INVALID = frozenset({"E006"})
_THROTTLED = re.compile(r"resets in ~?(\d+)\s*s")


def _is_of_the_version(sentence: str) -> bool:
    """Whether the model in the provider file is meant, and nothing that a caller chose."""
    return "version" in sentence.lower() and "not permitted" in sentence.lower()


#: In the order of specificity; all of them are answers to a request that was not taken.
CREATE_RULES = (
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=422, words=_is_of_the_version, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
)


def failure_of(name: str, prediction: Mapping[str, Any]) -> ProviderError:
    """Why a prediction failed, by its own words."""
    told = prediction.get("error")
    sentence = told if isinstance(told, str) else json.dumps(told) if told else ""
    named = _CODE.search(sentence)
    own = named.group(1) if named else ""
    vendor = VendorError(
        http_status=200, code=own or "failed", message=sentence, request_id=str(prediction.get("id", ""))
    )
    if own in _REFUSED or (own not in _PASSING | _INVALID and is_refusal(sentence)):
        code, reason, retryable = "PERMANENT", "CONTENT_POLICY", False
        message = f"{name} refused this request by its content policy."
    elif own in _PASSING or is_passing(sentence):
        code, reason, retryable = "TEMPORARY", "PROVIDER_UNAVAILABLE", True
        message = f"{name} could not finish this time."
    elif own in _INVALID:
        code, reason, retryable = "PERMANENT", "INVALID_INPUT", False
        message = f"{name} does not accept a field of this request."
    else:
        code, reason, retryable = "PERMANENT", "PROVIDER_REJECTED", False
        message = f"{name} could not make this picture."
    return ProviderError(
        code=code,
        reason=reason,
        message=message,
        retryable=retryable,
        acceptance=Acceptance.ACCEPTED,
        vendor=vendor,
    )


def throttled_seconds(answer: Answer) -> float | None:
    """When the throttle ends, as the answer's words say."""
    found = _THROTTLED.search(answer.text[:2000])
    return float(found.group(1)) if found else None
