"""Classifies responses of the Gemini API that have no image: exactly one error each."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError

#: Values of `finishReason` and `blockReason` that mean a refusal by the content policy.
REFUSALS = frozenset(
    {
        "SAFETY",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "IMAGE_PROHIBITED_CONTENT",
        "BLOCKLIST",
        "SPII",
        "RECITATION",
        "IMAGE_RECITATION",
        "JAILBREAK",
        "MODEL_ARMOR",
    }
)
#: Values of `finishReason` without an image after which another try may succeed; with `STOP` there was only text.
PASSING = frozenset({"NO_IMAGE", "IMAGE_OTHER", "OTHER", "STOP"})
#: Pause after a daily quota is used up, which is not renewed soon.
NEXT_DAY_SECONDS = 3600.0
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s", re.ASCII)

#: Most specific first: Google's own reason, then the status. A response that no rule fits may have been carried out.
RULES = (
    Rule(vendor_code="API_KEY_INVALID", code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=400, vendor_code="FAILED_PRECONDITION", code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    # By Google's billing FAQ a request that fails with 400 or 500 is not charged for its tokens; with 503 (overloaded)
    # it was not begun. https://ai.google.dev/gemini-api/docs/billing
    *(
        Rule(status=status, code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE, retryable=True)
        for status in (500, 503)
    ),
    Rule(status=504, code=Code.TIMEOUT, reason=Reason.PROVIDER_TIMEOUT, retryable=True, acceptance=Acceptance.UNKNOWN),
)


def refusal_of(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of a response that is no success."""
    error = _error(response)
    details = list(objects(error.get("details")))
    reason = next((item["reason"] for item in details if isinstance(item.get("reason"), str)), error.get("status"))
    code = reason if isinstance(reason, str) else ""
    return classify(name, response, RULES, vendor_code=code, retry_after=_retry_after(details))


def no_image(name: str, response: ProviderResponse, body: Mapping[str, Any]) -> ProviderError:
    """Returns the error of a success without an image: refused, temporary, or for an unknown reason."""
    feedback = body.get("promptFeedback")
    blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
    ends = [item.get("finishReason") for item in objects(body.get("candidates"))]
    end = next((item for item in (blocked, *ends) if isinstance(item, str)), "")
    vendor = response.evidence(code=end)
    if blocked is not None or end in REFUSALS:
        return ProviderError(
            code=Code.PERMANENT,
            reason=Reason.CONTENT_POLICY,
            message=MESSAGES[Reason.CONTENT_POLICY].format(name=name),
            retryable=False,
            acceptance=Acceptance.ACCEPTED,
            vendor=vendor,
        )
    if end in PASSING:
        return ProviderError(
            code=Code.TEMPORARY,
            reason=Reason.PROVIDER_UNAVAILABLE,
            message=f"{name} generated no image this time.",
            retryable=True,
            acceptance=Acceptance.ACCEPTED,
            vendor=vendor,
        )
    return ProviderError(
        code=Code.UNKNOWN,
        reason=Reason.UNCLASSIFIED,
        message=f"{name} returned a success without an image.",
        retryable=False,
        # The model ran to its end, so the call may be charged.
        acceptance=Acceptance.ACCEPTED,
        vendor=vendor,
    )


def objects(listed: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the objects of a list; nothing if `listed` is no list."""
    return (item for item in listed if isinstance(item, dict)) if isinstance(listed, list) else iter(())


def _retry_after(details: list[Mapping[str, Any]]) -> float | None:
    """Returns the seconds to wait, from the body, as the API has no standard header; None without any."""
    violations = [violation for item in details for violation in objects(item.get("violations"))]
    if any("PerDay" in str(violation.get("quotaId", "")) for violation in violations):
        return NEXT_DAY_SECONDS
    named = (_SECONDS.fullmatch(item["retryDelay"]) for item in details if isinstance(item.get("retryDelay"), str))
    return next((float(found.group(1)) for found in named if found), None)


def _error(response: ProviderResponse) -> Mapping[str, Any]:
    body = response.json()
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
