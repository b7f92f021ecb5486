"""Classifies responses of OpenAI's Images API that have no image: exactly one error each."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.error_messages import is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, Rule, vendor_codes
from services.generator.adapters.providers.http.responses import ProviderResponse
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
    """Returns whether Azure blocks the whole resource: the message names the content policy, but not this request."""
    return "resource has been temporarily blocked" in sentence


def _is_of_the_model(sentence: str) -> bool:
    """Returns whether the message is about the configured model. https://github.com/lobehub/lobehub/issues/14450"""
    return "Unknown model" in sentence


#: Codes of a refusal by the content policy: OpenAI's, Azure's with those that it wraps, Recraft's.
REFUSALS = (
    "moderation_blocked",
    "content_policy_violation",
    "content_filter",
    "contentFilter",
    "ResponsibleAIPolicyViolation",
    "content_moderation_error",
)
#: A refused request was accepted and judged; whether it is charged is not documented.
_REFUSED = Rule(code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, acceptance=Acceptance.ACCEPTED)
_NO_CREDIT = Rule(code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED)

#: Most specific first: the code of OpenAI or of a relay, then the text, then the status. A response that no rule fits
#: may have been carried out.
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
            # Relays of the one-api family, and Recraft.
            "insufficient_user_quota",
            "insufficient_balance",
            "not_enough_credits",
            "personal-team-blocked:spending-limit",
        )
    ),
    replace(_NO_CREDIT, status=402),
    # https://github.com/pollinations/pollinations/issues/8848
    Rule(status=403, words=_is_of_the_resource, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    # LiteLLM, xAI and Together have only a text for these.
    *(replace(_REFUSED, status=status, words=is_refusal) for status in (400, 403, 422)),
    *(replace(_NO_CREDIT, status=status, words=_is_out_of_credit) for status in (403, 429)),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(vendor_code="unsupported_country_region_territory", code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    Rule(status=400, words=_is_of_the_model, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=408, code=Code.TIMEOUT, reason=Reason.PROVIDER_TIMEOUT, retryable=True, acceptance=Acceptance.UNKNOWN),
    Rule(status=504, code=Code.TIMEOUT, reason=Reason.PROVIDER_TIMEOUT, retryable=True, acceptance=Acceptance.UNKNOWN),
)


def no_image(name: str, response: ProviderResponse, body: Mapping[str, Any]) -> ProviderError:
    """Returns the error of a success without an image, which was carried out; relays report refusals like this."""
    listed = body.get("data")
    slots = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    # xAI marks an image that it withholds.
    is_refused = any(item.get("respect_moderation") is False for item in slots) or is_refusal(response.text)
    codes = vendor_codes(response)
    if is_refused or not set(REFUSALS).isdisjoint(codes):
        code, reason, message = Code.PERMANENT, Reason.CONTENT_POLICY, MESSAGES[Reason.CONTENT_POLICY].format(name=name)
    else:
        code, reason, message = Code.UNKNOWN, Reason.UNCLASSIFIED, f"{name} returned a success without an image."
    return ProviderError(
        code=code,
        reason=reason,
        message=message,
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=response.evidence(code=next(iter(codes), "")),
    )


def retry_after(response: ProviderResponse) -> float | None:
    """Returns the seconds to wait by OpenAI's own headers; None leaves it to the standard header."""
    try:
        seconds = float(response.headers["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        return None if "retry-after" in response.headers else _until_reset(response)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until_reset(response: ProviderResponse) -> float | None:
    """Returns the seconds until every used-up limit is renewed, from values such as `1m2.5s`; None without any."""
    used_up = [item for item in ("requests", "tokens") if response.headers.get(f"x-ratelimit-remaining-{item}") == "0"]
    resets = [_DURATION.fullmatch(response.headers.get(f"x-ratelimit-reset-{item}", "")) for item in used_up]
    found = [
        sum(float(n or 0) * unit for n, unit in zip(item.groups(), _UNITS, strict=True)) for item in resets if item
    ]
    return max(found, default=None)
