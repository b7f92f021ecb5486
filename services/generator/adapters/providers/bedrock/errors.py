"""Classifies responses of Amazon Bedrock that have no image: exactly one error each.

Sources: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
"""

import re
from collections.abc import Mapping
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.error_messages import is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError

_FILTERED = re.compile(r"content filters?|Responsible AI|filter reason", re.IGNORECASE)
_OF_THE_MODEL = re.compile(
    r"model identifier is invalid|on-demand throughput isn.t supported|does not support this operation", re.IGNORECASE
)
#: Codes of a wrong or expired credential: nothing was carried out.
DENIED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "RequestExpired",
        "UnrecognizedClientException",
    }
)


def is_filtered(sentence: str) -> bool:
    """Returns whether AWS's content filters forbid the request or its result."""
    return _FILTERED.search(sentence) is not None or is_refusal(sentence)


def _is_of_the_model(sentence: str) -> bool:
    return _OF_THE_MODEL.search(sentence) is not None


def _is_of_the_account(sentence: str) -> bool:
    return "INVALID_PAYMENT_INSTRUMENT" in sentence


#: Most specific first: AWS's own code, its text, the status. A response that no rule fits may have been carried out.
RULES = (
    *(Rule(vendor_code=code, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH) for code in sorted(DENIED)),
    Rule(vendor_code="ServiceQuotaExceededException", code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, words=_is_of_the_account, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    # AWS's own clients try again while a model is not ready.
    Rule(vendor_code="ModelNotReadyException", code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE, retryable=True),
    Rule(
        vendor_code="ModelTimeoutException",
        code=Code.TIMEOUT,
        reason=Reason.PROVIDER_TIMEOUT,
        retryable=True,
        acceptance=Acceptance.UNKNOWN,
    ),
    Rule(
        vendor_code="ModelErrorException",
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        retryable=True,
        acceptance=Acceptance.UNKNOWN,
    ),
    Rule(
        status=400, words=is_filtered, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, acceptance=Acceptance.ACCEPTED
    ),
    Rule(status=400, words=_is_of_the_model, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
)


def refusal_of(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of a response that is no success."""
    error = classify(name, response, RULES, vendor_code=code_of(response))
    error.vendor = response.evidence(code=error.vendor.code, request_id=response.headers.get("x-amzn-requestid", ""))
    return error


def code_of(response: ProviderResponse) -> str:
    """Returns the error code from the header or the body; empty without one."""
    code = response.headers.get("x-amzn-errortype", "").partition(":")[0]
    body = response.json()
    named = body.get("__type", body.get("code")) if isinstance(body, dict) else None
    return code or (named.rpartition("#")[2] if isinstance(named, str) else "")


def no_image(name: str, response: ProviderResponse, body: Mapping[str, Any]) -> ProviderError:
    """Returns the error of a success without an image: filtered, temporary, or for an unknown reason."""
    reasons = body.get("finish_reasons")
    listed = [item for item in reasons if isinstance(item, str)] if isinstance(reasons, list) else []
    words = body.get("error")
    sentence = " ".join([*listed, words if isinstance(words, str) else ""]).strip()
    code, reason, retryable = Code.UNKNOWN, Reason.UNCLASSIFIED, False
    message = f"{name} returned a success without an image."
    if is_filtered(sentence):
        code, reason, message = Code.PERMANENT, Reason.CONTENT_POLICY, MESSAGES[Reason.CONTENT_POLICY].format(name=name)
    elif "Inference error" in listed:
        code, reason, retryable = Code.TEMPORARY, Reason.PROVIDER_UNAVAILABLE, True
        message = f"{name} generated no image this time."
    return ProviderError(
        code=code,
        reason=reason,
        message=message,
        retryable=retryable,
        acceptance=Acceptance.ACCEPTED,
        vendor=response.evidence(
            code=listed[0] if listed else "", request_id=response.headers.get("x-amzn-requestid", "")
        ),
    )
