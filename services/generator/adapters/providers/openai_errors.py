"""What the answers of OpenAI's Images API mean when they are not images: exactly one classified error each."""

import math
from dataclasses import replace

import httpx

from services.generator.adapters.providers.http_errors import Rule
from services.generator.domain.outcomes import Acceptance

#: A refusal was taken and judged; whether it is charged is not said.
_REFUSED = Rule(code="PERMANENT", reason="CONTENT_POLICY", acceptance=Acceptance.ACCEPTED)
_NO_CREDIT = Rule(code="PERMANENT", reason="QUOTA_EXHAUSTED")

#: In the order of specificity: the vendor's own code, then the status. What no rule knows may have been carried out.
RULES = (
    *(replace(_REFUSED, vendor_code=code) for code in ("moderation_blocked", "content_policy_violation")),
    *(
        replace(_NO_CREDIT, vendor_code=code)
        for code in ("insufficient_quota", "billing_hard_limit_reached", "credit_balance_exhausted")
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
    """Seconds that the answer names in milliseconds, which is more exact than the standard header."""
    try:
        seconds = float(answer.headers["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
