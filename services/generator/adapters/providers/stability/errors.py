"""What the answers of Stability AI mean when they are not images: exactly one classified error each."""

from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError

FILTERED = "CONTENT_FILTERED"
#: Who goes beyond the limit is locked out for a minute; no header says so.
LOCKED_OUT_SECONDS = 60.0

#: In the order of specificity: the vendor's own name, then the status. What no rule knows may have been carried out.
RULES = (
    # By the reference a request that is denied so is not charged.
    Rule(status=403, vendor_code="content_moderation", code="PERMANENT", reason="CONTENT_POLICY"),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    # "You will not be charged for failed generations": its OpenAPI document, of every call. This is the vendor's name
    # for one; what answers before it, such as a gateway, has no name.
    Rule(
        status=500,
        vendor_code="internal_error",
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        retryable=True,
    ),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
)


def refusal_of(name: str, answer: Answer) -> ProviderError:
    """The error of an answer that is no success."""
    error = classify(name, answer, RULES, vendor_code=_name_of(answer))
    if error.reason == "PROVIDER_RATE_LIMIT" and error.retry_after_seconds is None:
        error.retry_after_seconds = LOCKED_OUT_SECONDS
    return error


def filtered(name: str, answer: Answer) -> ProviderError:
    """The image was made, found to be against the policy, and blurred: it is paid for and of no use."""
    return ProviderError(
        code="PERMANENT",
        reason="CONTENT_POLICY",
        message=MESSAGES["CONTENT_POLICY"].format(name=name),
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=answer.evidence(code=FILTERED, message=""),
    )


def no_image(name: str, answer: Answer, *, ended: object) -> ProviderError:
    """A success that is not as the reference has it; the start of it, and what it says of its end, are kept."""
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered without an image that it calls a success.",
        retryable=False,
        acceptance=Acceptance.UNKNOWN,
        vendor=answer.evidence(code=ended if isinstance(ended, str) else ""),
    )


def _name_of(answer: Answer) -> str:
    """The short name of an error, which tells apart those of one status."""
    body = answer.json()
    named = body.get("name") if isinstance(body, dict) else None
    return named if isinstance(named, str) else ""
