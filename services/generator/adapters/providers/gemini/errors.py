"""What the answers of the Gemini API mean when they are not images: exactly one classified error each."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError

#: Why the model ended, or the prompt was blocked, when the policy was the cause.
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
#: Ends without an image that another try may turn out better; a `STOP` without one brought words alone.
PASSING = frozenset({"NO_IMAGE", "IMAGE_OTHER", "OTHER", "STOP"})
#: A quota of the day is not renewed soon.
NEXT_DAY_SECONDS = 3600.0
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s", re.ASCII)

#: In the order of specificity: the vendor's own reason, then the status. What no rule knows may have been carried out.
RULES = (
    Rule(vendor_code="API_KEY_INVALID", code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=400, vendor_code="FAILED_PRECONDITION", code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
    # By the vendor's billing FAQ a request that fails with 400 or 500 is not charged for its tokens; an overload is a
    # refusal to begin. https://ai.google.dev/gemini-api/docs/billing
    *(Rule(status=status, code="TEMPORARY", reason="PROVIDER_UNAVAILABLE", retryable=True) for status in (500, 503)),
    Rule(status=504, code="TIMEOUT", reason="PROVIDER_TIMEOUT", retryable=True, acceptance=Acceptance.UNKNOWN),
)


def refusal_of(name: str, answer: Answer) -> ProviderError:
    """The error of an answer that is no success."""
    told = _error(answer)
    details = list(objects(told.get("details")))
    reason = next((one["reason"] for one in details if isinstance(one.get("reason"), str)), told.get("status"))
    code = reason if isinstance(reason, str) else ""
    return classify(name, answer, RULES, vendor_code=code, retry_after=_retry_after(details))


def no_image(name: str, answer: Answer, told: Mapping[str, Any]) -> ProviderError:
    """A success without an image: refused, not this time, or for a reason that nobody knows."""
    feedback = told.get("promptFeedback")
    blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
    ends = [one.get("finishReason") for one in objects(told.get("candidates"))]
    end = next((one for one in (blocked, *ends) if isinstance(one, str)), "")
    vendor = answer.evidence(code=end)
    if blocked is not None or end in REFUSALS:
        return ProviderError(
            code="PERMANENT",
            reason="CONTENT_POLICY",
            message=MESSAGES["CONTENT_POLICY"].format(name=name),
            retryable=False,
            acceptance=Acceptance.ACCEPTED,
            vendor=vendor,
        )
    if end in PASSING:
        return ProviderError(
            code="TEMPORARY",
            reason="PROVIDER_UNAVAILABLE",
            message=f"{name} made no image this time.",
            retryable=True,
            acceptance=Acceptance.ACCEPTED,
            vendor=vendor,
        )
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered without an image.",
        retryable=False,
        # The model ran to an end, whatever it was.
        acceptance=Acceptance.ACCEPTED,
        vendor=vendor,
    )


def objects(listed: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, of whatever else there may be."""
    return (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else iter(())


def _retry_after(details: list[Mapping[str, Any]]) -> float | None:
    """Seconds to wait: until the next day's quota, or as the answer names them; it has no standard header."""
    violations = [violation for one in details for violation in objects(one.get("violations"))]
    if any("PerDay" in str(violation.get("quotaId", "")) for violation in violations):
        return NEXT_DAY_SECONDS
    named = (_SECONDS.fullmatch(one["retryDelay"]) for one in details if isinstance(one.get("retryDelay"), str))
    return next((float(found.group(1)) for found in named if found), None)


def _error(answer: Answer) -> Mapping[str, Any]:
    body = answer.json()
    told = body.get("error") if isinstance(body, dict) else None
    return told if isinstance(told, dict) else {}
