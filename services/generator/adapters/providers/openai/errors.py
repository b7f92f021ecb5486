"""What the answers of OpenAI's Images API mean when they are not images: exactly one classified error each."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.generator.adapters.providers.http.error_words import is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, Rule, vendor_codes
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError

_DURATION = re.compile(r"(?=\d)(?:(\d{1,3})h)?(?:(\d{1,5})m)?(?:(\d{1,6}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?", re.ASCII)
_OUT_OF_CREDIT = re.compile(
    r"(?:used|out of)[^.]{0,40}credits?|spending limit|insufficient (?:credits?|balance|funds)|quota is not enough",
    re.IGNORECASE,
)
_UNITS = (3600, 60, 1, 0.001)


def _is_out_of_credit(sentence: str) -> bool:
    return _OUT_OF_CREDIT.search(sentence) is not None


def _is_of_the_resource(sentence: str) -> bool:
    """Azure's block of a whole resource: it names the content policy, and is not about this request."""
    return "resource has been temporarily blocked" in sentence


def _is_of_the_model(sentence: str) -> bool:
    """Whether the deployment in the provider file is meant. https://github.com/lobehub/lobehub/issues/14450"""
    return "Unknown model" in sentence


#: Codes of a refusal by the content policy: the vendor's own, Azure's and what it wraps, Recraft's.
REFUSALS = (
    "moderation_blocked",
    "content_policy_violation",
    "content_filter",
    "contentFilter",
    "ResponsibleAIPolicyViolation",
    "content_moderation_error",
)
#: A refusal was taken and judged; whether it is charged is not said.
_REFUSED = Rule(code="PERMANENT", reason="CONTENT_POLICY", acceptance=Acceptance.ACCEPTED)
_NO_CREDIT = Rule(code="PERMANENT", reason="QUOTA_EXHAUSTED")

#: In the order of specificity: the vendor's own code, or a relay's; words; the status. What no rule knows may have been
#: carried out.
RULES = (
    *(replace(_REFUSED, vendor_code=code) for code in REFUSALS),
    *(
        replace(_NO_CREDIT, vendor_code=code)
        for code in (
            "insufficient_quota",
            "billing_hard_limit_reached",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            # Of relays of the one-api family, and Recraft's.
            "insufficient_user_quota",
            "insufficient_balance",
            "not_enough_credits",
            "personal-team-blocked:spending-limit",
        )
    ),
    replace(_NO_CREDIT, status=402),
    # https://github.com/pollinations/pollinations/issues/8848
    Rule(status=403, words=_is_of_the_resource, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    # Servers that speak this API say it in words alone: LiteLLM, xAI, Together.
    *(replace(_REFUSED, status=status, words=is_refusal) for status in (400, 403, 422)),
    *(replace(_NO_CREDIT, status=status, words=_is_out_of_credit) for status in (403, 429)),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(vendor_code="unsupported_country_region_territory", code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, words=_is_of_the_model, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=408, code="TIMEOUT", reason="PROVIDER_TIMEOUT", retryable=True, acceptance=Acceptance.UNKNOWN),
    Rule(status=504, code="TIMEOUT", reason="PROVIDER_TIMEOUT", retryable=True, acceptance=Acceptance.UNKNOWN),
)


def no_image(name: str, answer: Answer, told: Mapping[str, Any]) -> ProviderError:
    """A success without an image: it was carried out, whatever came of it. Relays tell refusals and troubles so."""
    listed = told.get("data")
    slots = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    # xAI's, of a picture that it keeps back.
    is_refused = any(one.get("respect_moderation") is False for one in slots) or is_refusal(answer.text)
    codes = vendor_codes(answer)
    if is_refused or not set(REFUSALS).isdisjoint(codes):
        code, reason, message = "PERMANENT", "CONTENT_POLICY", MESSAGES["CONTENT_POLICY"].format(name=name)
    else:
        code, reason, message = "UNKNOWN", "UNCLASSIFIED", f"{name} answered without an image."
    return ProviderError(
        code=code,
        reason=reason,
        message=message,
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=answer.evidence(code=next(iter(codes), "")),
    )


def retry_after(answer: Answer) -> float | None:
    """Seconds to wait as the vendor's own headers name them; None leaves it to the standard header."""
    try:
        seconds = float(answer.headers["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        return None if "retry-after" in answer.headers else _until_reset(answer)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until_reset(answer: Answer) -> float | None:
    """When the last of the limits that are used up is renewed, as in `1m2.5s`."""
    used_up = [one for one in ("requests", "tokens") if answer.headers.get(f"x-ratelimit-remaining-{one}") == "0"]
    told = [_DURATION.fullmatch(answer.headers.get(f"x-ratelimit-reset-{one}", "")) for one in used_up]
    found = [sum(float(n or 0) * unit for n, unit in zip(one.groups(), _UNITS, strict=True)) for one in told if one]
    return max(found, default=None)
