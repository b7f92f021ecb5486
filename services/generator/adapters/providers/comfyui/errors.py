"""What ComfyUI's answers mean when they are not images: exactly one classified error each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.errors import MESSAGES, Rule
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

#: Of a failure's words, so many characters are looked at.
MOST_SEARCHED = 4000
_NO_WORKFLOW = ("no_prompt", "invalid_prompt", "invalid_prompt_id", "missing_node_type", "prompt_no_outputs")

#: Answers to a prompt that was not queued: by the server's own code, then by the status. The server itself knows no
#: credential, no credit and no limit; those are words of a proxy in front of it.
RULES = (
    *(Rule(status=400, vendor_code=code, code="PERMANENT", reason="PROVIDER_REJECTED") for code in _NO_WORKFLOW),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=405, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
)


#: What Comfy API v2 says of a key that it knows: the call is not carried out again.
KEY_REUSED = "idempotency_key_reuse"
#: Answers of Comfy API v2, by the code in its envelope (`ErrorEnvelope` of its description), then as above.
V2_RULES = (
    Rule(vendor_code="workflow_format_ui", code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(vendor_code="missing_asset", code="TEMPORARY", reason="PROVIDER_UNAVAILABLE", retryable=True),
    Rule(vendor_code="insufficient_credits", code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    *RULES,
)


@dataclass(frozen=True, kw_only=True)
class ServerFailure:
    """What an exception in a node means, by the words of its type and message."""

    words: re.Pattern[str]
    code: str
    reason: str
    retryable: bool = False


def _failure(words: str, code: str, reason: str, *, retryable: bool = False) -> ServerFailure:
    return ServerFailure(words=re.compile(words, re.IGNORECASE), code=code, reason=reason, retryable=retryable)


#: The last two groups are of nodes that ask a vendor elsewhere; the server has no filter of its own.
FAILURES = (
    _failure(r"OutOfMemory|out of memory", "TEMPORARY", "PROVIDER_UNAVAILABLE", retryable=True),
    _failure(r"^Exception: Unauthorized: Please login", "AUTH_ERROR", "PROVIDER_AUTH"),
    _failure(r"Payment Required: Please add credits", "PERMANENT", "QUOTA_EXHAUSTED"),
    _failure(r"\bflagged by|content policy|content[ _]moderation|moderation[ _]blocked", "PERMANENT", "CONTENT_POLICY"),
)
_ELSE = _failure("", "PERMANENT", "PROVIDER_REJECTED")
_WORDS = {
    "PROVIDER_UNAVAILABLE": "{name} ran out of memory.",
    "PROVIDER_REJECTED": "{name} could not carry out the workflow.",
}


def answer_lost(name: str) -> ProviderError:
    """The call was taken before, and its answer did not arrive: by its key alone its job cannot be found."""
    return ProviderError(
        code="TIMEOUT",
        reason="RESULT_LOST",
        message=f"{name} took this call before, and does not tell by which job; a retry pays again.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=VendorError(http_status=422, code=KEY_REUSED),
    )


def ending_of(name: str, status: Mapping[str, Any]) -> ProviderError | None:
    """Why a prompt came to a bad end, by the events in its history; None when it ended well."""
    listed = status.get("messages")
    pairs = [one for one in listed if isinstance(one, list) and len(one) == 2] if isinstance(listed, list) else []
    events = {told: data if isinstance(data, dict) else {} for told, data in pairs if isinstance(told, str)}
    if "execution_interrupted" in events:
        return operation_errors.stopped(name)
    if "execution_error" in events or status.get("status_str") == "error":
        return _failed(name, events.get("execution_error", {}))
    if status.get("status_str", "success") != "success":
        told = operation_errors.status(status["status_str"])
        return operation_errors.unclassified(
            name, operation_errors.UNKNOWN_STATUS, acceptance=Acceptance.ACCEPTED, vendor=told
        )
    return None


def _failed(name: str, event: Mapping[str, Any]) -> ProviderError:
    kind, message = (str(event.get(f"exception_{part}") or "") for part in ("type", "message"))
    return failed(name, kind, message, prompt_id=str(event.get("prompt_id") or ""))


def failed(name: str, kind: str, message: str, *, prompt_id: str) -> ProviderError:
    """What it means that a workflow broke, by the type and the words of it."""
    words = f"{kind}: {message}"[:MOST_SEARCHED]
    found = next((one for one in FAILURES if one.words.search(words)), _ELSE)
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
