"""Classifies responses of Black Forest Labs that have no image: exactly one error each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.errors import MESSAGES, Rule, read_json
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

MAX_NUMBER = 2**63 - 1
#: By the status alone, because the reference names no codes. After all of them the request was not accepted.
RULES = (
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
)


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """The meaning of a task's status without an image."""

    code: Code
    """Our code of the error."""
    reason: Reason
    """Our reason of the error."""
    message: str
    """Message for users; `{name}` is the provider's name."""
    retryable: bool = False
    """Whether another try may succeed."""
    acceptance: Acceptance = Acceptance.ACCEPTED
    """Whether the provider accepted the request, and so may charge it."""


_REFUSED = _Verdict(code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, message=MESSAGES[Reason.CONTENT_POLICY])
#: The end of a task, by its status.
_VERDICTS = {
    "Request Moderated": _REFUSED,
    "Content Moderated": _REFUSED,
    "Error": _Verdict(
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        message=MESSAGES[Reason.PROVIDER_UNAVAILABLE],
        retryable=True,
    ),
    # The task has ended without an image, and none will come.
    "Ready": _Verdict(
        code=Code.UNKNOWN, reason=Reason.UNCLASSIFIED, message="{name} returned a success without an image."
    ),
}
_UNKNOWN_STATUS = _Verdict(
    code=Code.UNKNOWN,
    reason=Reason.UNCLASSIFIED,
    message="{name} returned an unknown status.",
    acceptance=Acceptance.UNKNOWN,
)


def verdict(name: str, response: ProviderResponse, *, status: str, task_id: str) -> ProviderError:
    """Returns the error of a task without an image, by its status; after an unknown status the task may go on."""
    meaning = _VERDICTS.get(status, _UNKNOWN_STATUS)
    return ProviderError(
        code=meaning.code,
        reason=meaning.reason,
        message=meaning.message.format(name=name),
        retryable=meaning.retryable,
        acceptance=meaning.acceptance,
        vendor=response.evidence(code=status, request_id=task_id),
    )


def cannot_be_polled(name: str, evidence: VendorError) -> ProviderError:
    """Returns the error of a task that began and cannot be polled: no id, or a URL that must not get the key."""
    return ProviderError(
        code=Code.UNKNOWN,
        reason=Reason.UNCLASSIFIED,
        message=f"{name} returned a task without a usable id or polling address.",
        retryable=False,
        acceptance=Acceptance.UNKNOWN,
        vendor=evidence,
    )


def vendor_code(response: ProviderResponse) -> str:
    """Returns the body's `error`, or the type of the first refused field; empty without either."""
    body = _body_of(response)
    if isinstance(body.get("error"), str):
        return str(body["error"])
    detail = body.get("detail")
    first = detail[0] if isinstance(detail, list) and detail else None
    return str(first.get("type") or "") if isinstance(first, dict) else ""


def retry_after(response: ProviderResponse) -> float | None:
    """Returns the seconds to wait from the body; None leaves it to the standard header."""
    seconds = _body_of(response).get("retry_after")
    return max(float(seconds), 0.0) if is_number(seconds) else None


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether a value is a finite number within 64 bits."""
    if isinstance(value, float):
        return math.isfinite(value)
    # JSON has integers of any length.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _body_of(response: ProviderResponse) -> Mapping[str, Any]:
    try:
        return read_json("", response)
    except ProviderError:
        return {}
