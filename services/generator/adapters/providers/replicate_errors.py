"""What Replicate's answers mean when they are not images: exactly one classified error each."""

import re
from collections.abc import Mapping
from typing import Any

import httpx

from services.generator.adapters.providers.http_errors import Rule
from services.generator.domain.outcomes import Acceptance, ProviderError, VendorError

_REFUSED = re.compile(r"nsfw|safety|flagged|sensitive|moderat", re.IGNORECASE)
_PASSING = re.compile(r"out of memory|interrupted|please retry", re.IGNORECASE)
_THROTTLED = re.compile(r"resets in ~?(\d+)\s*s")

#: In the order of specificity; all of them are answers to a request that was not taken.
CREATE_RULES = (
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
)


def failure_of(name: str, prediction: Mapping[str, Any]) -> ProviderError:
    """Why a prediction failed, by its own words."""
    words = str(prediction.get("error") or "")[:2000]
    vendor = VendorError(http_status=200, code="failed", message=words, request_id=str(prediction.get("id", "")))
    if _REFUSED.search(words):
        code, reason, retryable = "PERMANENT", "CONTENT_POLICY", False
        message = f"{name} refused this request by its content policy."
    elif _PASSING.search(words):
        code, reason, retryable = "TEMPORARY", "PROVIDER_UNAVAILABLE", True
        message = f"{name} could not finish this time."
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


def throttled_seconds(answer: httpx.Response) -> float | None:
    """When the throttle ends, as the answer's words say."""
    found = _THROTTLED.search(answer.text[:2000])
    return float(found.group(1)) if found else None
