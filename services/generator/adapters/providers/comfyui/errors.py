"""Classifies responses of ComfyUI that have no image: exactly one error each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.errors import MESSAGES, Rule
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

#: Characters of a failure's text that are searched.
MAX_SEARCHED_CHARACTERS = 4000
_NO_WORKFLOW = ("no_prompt", "invalid_prompt", "invalid_prompt_id", "missing_node_type", "prompt_no_outputs")

#: Responses to a prompt that was not queued: by the server's own code, then by the status. The server itself has no
#: credential, credit or limit; a proxy in front of it may.
RULES = (
    *(
        Rule(status=400, vendor_code=code, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED)
        for code in _NO_WORKFLOW
    ),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=405, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
)


#: Code of Comfy API v2 for an idempotency key that it has seen: the call is not carried out again.
KEY_REUSED = "idempotency_key_reuse"
#: Responses of Comfy API v2: by the code in its `ErrorEnvelope`, then as above.
V2_RULES = (
    Rule(vendor_code="workflow_format_ui", code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(vendor_code="missing_asset", code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE, retryable=True),
    Rule(vendor_code="insufficient_credits", code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    *RULES,
)


@dataclass(frozen=True, kw_only=True)
class ServerFailure:
    """The meaning of an exception in a node, by the text of its type and message."""

    words: re.Pattern[str]
    """Pattern that the text contains."""
    code: Code
    """Our code of the error."""
    reason: Reason
    """Our reason of the error."""
    retryable: bool = False
    """Whether another try may succeed."""


def _failure(words: str, code: Code, reason: Reason, *, retryable: bool = False) -> ServerFailure:
    return ServerFailure(words=re.compile(words, re.IGNORECASE), code=code, reason=reason, retryable=retryable)


#: All but the first are of nodes that call another company's API; the server itself has no filter.
FAILURES = (
    _failure(r"OutOfMemory|out of memory", Code.TEMPORARY, Reason.PROVIDER_UNAVAILABLE, retryable=True),
    _failure(r"^Exception: Unauthorized: Please login", Code.AUTH_ERROR, Reason.PROVIDER_AUTH),
    _failure(r"Payment Required: Please add credits", Code.PERMANENT, Reason.QUOTA_EXHAUSTED),
    _failure(
        r"\bflagged by|content policy|content[ _]moderation|moderation[ _]blocked",
        Code.PERMANENT,
        Reason.CONTENT_POLICY,
    ),
)
_ELSE = _failure("", Code.PERMANENT, Reason.PROVIDER_REJECTED)
_WORDS = {
    Reason.PROVIDER_UNAVAILABLE: "{name} ran out of memory.",
    Reason.PROVIDER_REJECTED: "{name} could not carry out the workflow.",
}


def response_lost(name: str) -> ProviderError:
    """Returns the error of a call that was accepted before and whose response is lost; the key finds no job."""
    return ProviderError(
        code=Code.TIMEOUT,
        reason=Reason.RESULT_LOST,
        message=f"{name} accepted this call before and does not say as which job; a retry is charged again.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=VendorError(http_status=422, code=KEY_REUSED),
    )


def ending_of(name: str, status: Mapping[str, Any]) -> ProviderError | None:
    """Returns the error of a prompt, by the events in its history; None if it succeeded."""
    listed = status.get("messages")
    pairs = [item for item in listed if isinstance(item, list) and len(item) == 2] if isinstance(listed, list) else []
    events = {event: data if isinstance(data, dict) else {} for event, data in pairs if isinstance(event, str)}
    if "execution_interrupted" in events:
        return operation_errors.stopped(name)
    if "execution_error" in events or status.get("status_str") == "error":
        return _failed(name, events.get("execution_error", {}))
    if status.get("status_str", "success") != "success":
        evidence = operation_errors.status(status["status_str"])
        return operation_errors.unclassified(
            name, operation_errors.UNKNOWN_STATUS, acceptance=Acceptance.ACCEPTED, vendor=evidence
        )
    return None


def _failed(name: str, event: Mapping[str, Any]) -> ProviderError:
    kind, message = (str(event.get(f"exception_{part}") or "") for part in ("type", "message"))
    return failed(name, kind, message, prompt_id=str(event.get("prompt_id") or ""))


def failed(name: str, kind: str, message: str, *, prompt_id: str) -> ProviderError:
    """Returns the error of a workflow that failed, by the type and the text of its exception."""
    words = f"{kind}: {message}"[:MAX_SEARCHED_CHARACTERS]
    found = next((item for item in FAILURES if item.words.search(words)), _ELSE)
    return ProviderError(
        code=found.code,
        reason=found.reason,
        message=(_WORDS.get(found.reason) or MESSAGES[found.reason]).format(name=name),
        retryable=found.retryable,
        acceptance=Acceptance.ACCEPTED,
        vendor=VendorError(
            http_status=200,
            code=kind,
            message=words,
            request_id=prompt_id,
        ),
    )
