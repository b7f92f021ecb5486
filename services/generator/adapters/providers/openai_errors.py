"""What the answers of OpenAI's Images API mean when they are not images: exactly one classified error each."""

import math
import re
from dataclasses import replace

import httpx

from services.generator.adapters.providers.http_errors import Rule
from services.generator.domain.outcomes import Acceptance

_DURATION = re.compile(r"(?=\d)(?:(\d{1,3})h)?(?:(\d{1,5})m)?(?:(\d{1,6}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?", re.ASCII)
_UNITS = (3600, 60, 1, 0.001)

#: A refusal was taken and judged; whether it is charged is not said.
_REFUSED = Rule(code="PERMANENT", reason="CONTENT_POLICY", acceptance=Acceptance.ACCEPTED)
_NO_CREDIT = Rule(code="PERMANENT", reason="QUOTA_EXHAUSTED")

#: In the order of specificity: the vendor's own code, then the status. What no rule knows may have been carried out.
RULES = (
    *(replace(_REFUSED, vendor_code=code) for code in ("moderation_blocked", "content_policy_violation")),
    *(
        replace(_NO_CREDIT, vendor_code=code)
        for code in (
            "insufficient_quota",
            "billing_hard_limit_reached",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
        )
    ),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(vendor_code="unsupported_country_region_territory", code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=408, code="TIMEOUT", reason="PROVIDER_TIMEOUT", retryable=True, acceptance=Acceptance.UNKNOWN),
    Rule(status=504, code="TIMEOUT", reason="PROVIDER_TIMEOUT", retryable=True, acceptance=Acceptance.UNKNOWN),
)


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds to wait as the vendor's own headers name them; None leaves it to the standard header."""
    try:
        seconds = float(answer.headers["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        return None if "retry-after" in answer.headers else _until_reset(answer)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until_reset(answer: httpx.Response) -> float | None:
    """When the last of the limits that are used up is renewed, as in `1m2.5s`."""
    used_up = [one for one in ("requests", "tokens") if answer.headers.get(f"x-ratelimit-remaining-{one}") == "0"]
    told = [_DURATION.fullmatch(answer.headers.get(f"x-ratelimit-reset-{one}", "")) for one in used_up]
    found = [sum(float(n or 0) * unit for n, unit in zip(one.groups(), _UNITS, strict=True)) for one in told if one]
    return max(found, default=None)
