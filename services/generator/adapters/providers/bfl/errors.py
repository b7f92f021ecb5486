"""What the answers of Black Forest Labs mean when they are not images: exactly one classified error each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from services.generator.adapters.providers.http.errors import MESSAGES, Rule, read_json
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

MOST_NUMBER = 2**63 - 1
#: By the status alone: bodies have no code that the reference names. All are answers to a request that was not taken.
RULES = (
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
)


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    code: str
    reason: str
    message: str
    retryable: bool = False
    acceptance: Acceptance = Acceptance.ACCEPTED


_REFUSED = _Verdict(code="PERMANENT", reason="CONTENT_POLICY", message=MESSAGES["CONTENT_POLICY"])
#: How a task ended, by its status.
_VERDICTS = {
    "Request Moderated": _REFUSED,
    "Content Moderated": _REFUSED,
    "Error": _Verdict(
        code="TEMPORARY", reason="PROVIDER_UNAVAILABLE", message="{name} could not finish this time.", retryable=True
    ),
    # No picture came, and none will: the task has ended.
    "Ready": _Verdict(code="UNKNOWN", reason="UNCLASSIFIED", message="{name} answered with a success without image."),
}
_STRANGE = _Verdict(
    code="UNKNOWN",
    reason="UNCLASSIFIED",
    message="{name} answered with a status that is not known.",
    acceptance=Acceptance.UNKNOWN,
)


def verdict(name: str, answer: Answer, *, status: str, task_id: str) -> ProviderError:
    """Why a task brought no image, by its status; one that nobody knows says nothing of how the task stands."""
    found = _VERDICTS.get(status, _STRANGE)
    return ProviderError(
        code=found.code,
        reason=found.reason,
        message=found.message.format(name=name),
        retryable=found.retryable,
        acceptance=found.acceptance,
        vendor=answer.evidence(code=status, request_id=task_id),
    )


def not_followable(name: str, evidence: VendorError) -> ProviderError:
    """A task was begun, and there is no way to follow it: no id, or an address that is not sent the key."""
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered with a task that cannot be followed.",
        retryable=False,
        acceptance=Acceptance.UNKNOWN,
        vendor=evidence,
    )


def vendor_code(answer: Answer) -> str:
    """What the body calls the error: `error`, or the type of the first field that was refused."""
    body = _told(answer)
    if isinstance(body.get("error"), str):
        return str(body["error"])
    detail = body.get("detail")
    first = detail[0] if isinstance(detail, list) and detail else None
    return str(first.get("type") or "") if isinstance(first, dict) else ""


def retry_after(answer: Answer) -> float | None:
    """Seconds to wait as the body says; None leaves it to the standard header."""
    seconds = _told(answer).get("retry_after")
    return max(float(seconds), 0.0) if is_number(seconds) else None


def is_number(told: Any) -> TypeGuard[float]:
    """Whether a value of an answer is a number that can be reckoned with."""
    if isinstance(told, float):
        return math.isfinite(told)
    # JSON has integers of any length.
    return isinstance(told, int) and not isinstance(told, bool) and abs(told) <= MOST_NUMBER


def _told(answer: Answer) -> Mapping[str, Any]:
    try:
        return read_json("", answer)
    except ProviderError:
        return {}
