"""Classifies responses of Stability AI that have no image: exactly one error each."""

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError

FILTERED = "CONTENT_FILTERED"
#: Beyond the rate limit an account is blocked for a minute; no header says so.
LOCKED_OUT_SECONDS = 60.0

#: Most specific first: the error's name, then the status. A response that no rule fits may have been carried out.
RULES = (
    # By the reference such a refusal is not charged.
    Rule(status=403, vendor_code="content_moderation", code=Code.PERMANENT, reason=Reason.CONTENT_POLICY),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    # "You will not be charged for failed generations", says the OpenAPI document of every call. This name marks one; an
    # error of a gateway in front of the API has no name.
    Rule(
        status=500,
        vendor_code="internal_error",
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        retryable=True,
    ),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
)


def refusal_of(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of a response that is no success."""
    error = classify(name, response, RULES, vendor_code=_name_of(response))
    if error.reason == Reason.PROVIDER_RATE_LIMIT and error.retry_after_seconds is None:
        error.retry_after_seconds = LOCKED_OUT_SECONDS
    return error


def filtered(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of an image that the content filter blurred: it is charged and useless."""
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.CONTENT_POLICY,
        message=MESSAGES[Reason.CONTENT_POLICY].format(name=name),
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=response.evidence(code=FILTERED, message=""),
    )


def no_image(name: str, response: ProviderResponse, *, ended: object) -> ProviderError:
    """Returns the error of a success without an image; `ended` is its `finish_reason`, which is kept as evidence."""
    return ProviderError(
        code=Code.UNKNOWN,
        reason=Reason.UNCLASSIFIED,
        message=f"{name} returned a success without an image.",
        retryable=False,
        acceptance=Acceptance.UNKNOWN,
        vendor=response.evidence(code=ended if isinstance(ended, str) else ""),
    )


def _name_of(response: ProviderResponse) -> str:
    """Returns the error's name, which distinguishes errors of one status; empty without one."""
    body = response.json()
    named = body.get("name") if isinstance(body, dict) else None
    return named if isinstance(named, str) else ""
