"""Classifies responses of Replicate that have no image: exactly one error each."""

import json
import re
from collections.abc import Mapping
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.error_messages import is_passing, is_refusal
from services.generator.adapters.providers.http.errors import Rule
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

#: Replicate's codes, at the end of its messages. https://replicate.com/docs/reference/error-codes
_CODE = re.compile(r"\b(E\d{3,4})\b")
#: Overload, slow starts, workers that ended: another try may succeed.
_PASSING = frozenset({"E1000", "E1001", "E6716", "E8367", "E8765", "E9243", "E9825", "E001", "E003", "E004"})
_REFUSED = frozenset({"E005"})
_INVALID = frozenset({"E006"})
_THROTTLED = re.compile(r"resets in ~?(\d+)\s*s")


def _is_of_the_version(sentence: str) -> bool:
    """Returns whether the error is about the model in the provider file, and not about a field of the request."""
    return "version" in sentence.lower() and "not permitted" in sentence.lower()


#: Most specific first; after all of them the request was not accepted.
CREATE_RULES = (
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=422, words=_is_of_the_version, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
)


def failure_of(name: str, prediction: Mapping[str, Any]) -> ProviderError:
    """Returns the error of a failed prediction, by the code and the text of its message."""
    error = prediction.get("error")
    sentence = error if isinstance(error, str) else json.dumps(error) if error else ""
    named = _CODE.search(sentence)
    own = named.group(1) if named else ""
    vendor = VendorError(
        http_status=200, code=own or "failed", message=sentence, request_id=str(prediction.get("id", ""))
    )
    if own in _REFUSED or (own not in _PASSING | _INVALID and is_refusal(sentence)):
        code, reason, retryable = Code.PERMANENT, Reason.CONTENT_POLICY, False
        message = f"{name} refused this request by its content policy."
    elif own in _PASSING or is_passing(sentence):
        code, reason, retryable = Code.TEMPORARY, Reason.PROVIDER_UNAVAILABLE, True
        message = f"{name} could not complete the request this time."
    elif own in _INVALID:
        code, reason, retryable = Code.PERMANENT, Reason.INVALID_INPUT, False
        message = f"{name} does not accept a field of this request."
    else:
        code, reason, retryable = Code.PERMANENT, Reason.PROVIDER_REJECTED, False
        message = f"{name} could not generate this image."
    return ProviderError(
        code=code,
        reason=reason,
        message=message,
        retryable=retryable,
        acceptance=Acceptance.ACCEPTED,
        vendor=vendor,
    )


def throttled_seconds(response: ProviderResponse) -> float | None:
    """Returns the seconds until the rate limit resets, from the response's text; None without them."""
    found = _THROTTLED.search(response.text[:2000])
    return float(found.group(1)) if found else None
