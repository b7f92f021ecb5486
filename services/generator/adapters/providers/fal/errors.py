"""What fal.ai's answers mean when they are not images: exactly one classified error each.

The vendor has two forms: of a model, a list `detail` whose members have a `type`; of what carries requests to models,
an `error_type`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.error_words import is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify, read_json
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

REFUSED, CANCELED = "content_policy_violation", "client_cancelled"
MOST_DETAILS = 100
#: A model that writes declines in the first person; an error of a machine is worded otherwise.
_DECLINED = re.compile(
    r"\bI(?:['’]m| am)? (?:unable|not able|not allowed|sorry|can ?not|can['’]t|won['’]t|must decline)\b"
)
_LOCKED = re.compile(r"User is locked\. Reason: ([\w ]{1,60})")

_TIMEOUT = Rule(code="TIMEOUT", reason="PROVIDER_TIMEOUT", retryable=True, acceptance=Acceptance.UNKNOWN)
# By the vendor's FAQ what fails with a status of 500 or more is never charged: https://fal.ai/docs/model-apis/faq
_PASSING = Rule(code="TEMPORARY", reason="PROVIDER_UNAVAILABLE", retryable=True)
_LASTING = Rule(code="PERMANENT", reason="PROVIDER_REJECTED", acceptance=Acceptance.UNKNOWN)

_TIMEOUTS = ("request_timeout", "startup_timeout", "generation_timeout")
_PASSING_FAILURES = (
    "runner_scheduling_failure",
    "runner_connection_timeout",
    "runner_disconnected",
    "runner_connection_refused",
    "runner_connection_error",
    "runner_incomplete_response",
    "runner_server_error",
    "internal_error",
    "internal_server_error",
    "downstream_service_error",
    "downstream_service_unavailable",
)

#: In the order of specificity: the vendor's own code, its header, the status. As answers to a new request, which
#: did not reach a model; of one that did, `failed` says that it was taken.
RULES = (
    Rule(vendor_code=REFUSED, code="PERMANENT", reason="CONTENT_POLICY", acceptance=Acceptance.ACCEPTED),
    *(replace(_TIMEOUT, vendor_code=code) for code in _TIMEOUTS),
    *(replace(_PASSING, vendor_code=code) for code in _PASSING_FAILURES),
    Rule(vendor_code="bad_request", code="PERMANENT", reason="INVALID_INPUT"),
    # Not in the reference: what accounts out of credit are told, by reports to the vendor.
    *(Rule(vendor_code=code, code="PERMANENT", reason="QUOTA_EXHAUSTED") for code in ("Exhausted balance", "TOP_UP")),
    # Ahead of the header, which knows nothing of the time to wait.
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    replace(_PASSING, header=("x-fal-retryable", "true")),
    *(replace(_LASTING, header=("x-fal-retryable", "false"), status=status) for status in (500, 502, 503, 504)),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    *(Rule(status=status, code="PERMANENT", reason="INVALID_INPUT") for status in (400, 413, 422)),
    *(replace(_TIMEOUT, status=status) for status in (408, 504)),
    *(replace(_PASSING, status=status) for status in (500, 502, 503)),
)


def refusal(name: str, answer: Answer, *, code: str = "", request_id: str = "") -> ProviderError:
    """The error of an answer; `code` and `request_id` are for what was told elsewhere."""
    error = classify(name, answer, RULES, vendor_code=code or code_of(answer) or _lock_of(answer))
    error.vendor = replace(error.vendor, request_id=answer.headers.get("x-fal-request-id", request_id))
    return error


def not_told(name: str, answer: Answer) -> ProviderError:
    """The error of an answer that says nothing of how the request itself stands."""
    if answer.status_code in (404, 410):
        return operation_errors.gone(name)
    error = refusal(name, answer)
    if answer.status_code == 429 or answer.status_code >= 500:
        return operation_errors.not_told(name, str(answer.status_code), retry_after=error.retry_after_seconds)
    error.acceptance = Acceptance.UNKNOWN
    return error


def failed(name: str, answer: Answer, failure: str | None, *, request_id: str) -> ProviderError:
    """The error of an answer in place of a result; `failure` is what the status said, None where it said none."""
    own = code_of(answer)
    if not _is_the_models(answer, code=own, failure=failure):
        return not_told(name, answer)
    code = own or failure or ""
    if code == CANCELED:
        return operation_errors.stopped(name)
    error = refusal(name, answer, code=code, request_id=request_id)
    # It was taken, and came to this.
    error.acceptance = Acceptance.ACCEPTED
    return error


def failure_told(status: Mapping[str, Any]) -> str | None:
    """What the status of a request that is done says of its failure; None where it is none."""
    told = status.get("error_type") or status.get("error")
    return str(told)[:200] if told else None


def flagged(name: str, request_id: str) -> ProviderError:
    """The model made the images, and found that they are not to be shown."""
    return ProviderError(
        code="PERMANENT",
        reason="CONTENT_POLICY",
        message=MESSAGES["CONTENT_POLICY"].format(name=name),
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=VendorError(http_status=200, code="has_nsfw_concepts", request_id=request_id),
    )


def no_image(name: str, answer: Answer, output: Mapping[str, Any], *, request_id: str) -> ProviderError:
    """A success without images: models that also write say in `description` why they made none."""
    words = output.get("description")
    if isinstance(words, str) and (_DECLINED.search(words) or is_refusal(words)):
        error = flagged(name, request_id)
        error.vendor = answer.evidence(code="description", message=words, request_id=request_id)
        return error
    vendor = answer.evidence(request_id=request_id)
    return operation_errors.unclassified(
        name, "a success without images", acceptance=Acceptance.ACCEPTED, vendor=vendor
    )


def code_of(answer: Answer) -> str:
    """The vendor's own code; a refusal, where there are several."""
    try:
        body = read_json("", answer)
    except ProviderError:
        body = {}
    told = body.get("detail")
    listed = told[:MOST_DETAILS] if isinstance(told, list) else []
    types = [str(one["type"]) for one in listed if isinstance(one, dict) and one.get("type")]
    if types:
        return REFUSED if REFUSED in types else types[0]
    return str(body.get("error_type") or answer.headers.get("x-fal-error-type", ""))


def _lock_of(answer: Answer) -> str:
    """Why an account is locked, which only words tell."""
    found = _LOCKED.search(answer.text[:2000]) if answer.status_code == 403 else None
    return found.group(1) if found else ""


def _is_the_models(answer: Answer, *, code: str, failure: str | None) -> bool:
    """Whether an answer is the request's own end, and not of something on the way to it."""
    if code or answer.status_code in (400, 413, 422):
        return True
    if answer.status_code >= 500:
        # What reached the request carries its id; what broke before that does not.
        return failure is not None or "x-fal-request-id" in answer.headers
    return False
