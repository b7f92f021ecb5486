"""Classifies responses of fal that have no image: exactly one error each.

A model's error has a list `detail` whose items have a `type`; an error of the queue in front of it has an `error_type`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.error_messages import is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, Rule, classify, read_json
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

REFUSED, CANCELED = "content_policy_violation", "client_cancelled"
MAX_DETAILS = 100
#: A language model declines in the first person; errors of software do not.
_DECLINED = re.compile(
    r"\bI(?:['’]m| am)? (?:unable|not able|not allowed|sorry|can ?not|can['’]t|won['’]t|must decline)\b"
)
_LOCKED = re.compile(r"User is locked\. Reason: ([\w ]{1,60})")

_TIMEOUT = Rule(code=Code.TIMEOUT, reason=Reason.PROVIDER_TIMEOUT, retryable=True, acceptance=Acceptance.UNKNOWN)
# By fal's FAQ a request that fails with status 500 or more is never charged: https://fal.ai/docs/model-apis/faq
_PASSING = Rule(code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE, retryable=True)
_LASTING = Rule(code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED, acceptance=Acceptance.UNKNOWN)

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

#: Most specific first: fal's own code, its header, the status. Acceptance is that of a new request, which did not reach
#: a model; for a request that did, `failed` sets ACCEPTED.
RULES = (
    Rule(vendor_code=REFUSED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, acceptance=Acceptance.ACCEPTED),
    *(replace(_TIMEOUT, vendor_code=code) for code in _TIMEOUTS),
    *(replace(_PASSING, vendor_code=code) for code in _PASSING_FAILURES),
    Rule(vendor_code="bad_request", code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    # Not in the reference: what accounts out of credit receive, by reports to fal.
    *(
        Rule(vendor_code=code, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED)
        for code in ("Exhausted balance", "TOP_UP")
    ),
    # Before the header's rule, which has no time to wait.
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
    replace(_PASSING, header=("x-fal-retryable", "true")),
    *(replace(_LASTING, header=("x-fal-retryable", "false"), status=status) for status in (500, 502, 503, 504)),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    *(Rule(status=status, code=Code.PERMANENT, reason=Reason.INVALID_INPUT) for status in (400, 413, 422)),
    *(replace(_TIMEOUT, status=status) for status in (408, 504)),
    *(replace(_PASSING, status=status) for status in (500, 502, 503)),
)


def refusal(name: str, response: ProviderResponse, *, code: str = "", request_id: str = "") -> ProviderError:
    """Returns the error of a response; `code` and `request_id` are those of another response, if that had them."""
    error = classify(name, response, RULES, vendor_code=code or code_of(response) or _lock_of(response))
    error.vendor = replace(error.vendor, request_id=response.headers.get("x-fal-request-id", request_id))
    return error


def status_unknown(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of a response that does not have the request's status."""
    if response.status_code in (404, 410):
        return operation_errors.lost(name)
    error = refusal(name, response)
    if response.status_code == 429 or response.status_code >= 500:
        return operation_errors.status_unknown(name, str(response.status_code), retry_after=error.retry_after_seconds)
    error.acceptance = Acceptance.UNKNOWN
    return error


def failed(name: str, response: ProviderResponse, failure: str | None, *, request_id: str) -> ProviderError:
    """Returns the error of a response in place of a result; `failure` is the status's error, None without one."""
    own = code_of(response)
    if not _is_the_models(response, code=own, failure=failure):
        return status_unknown(name, response)
    code = own or failure or ""
    if code == CANCELED:
        return operation_errors.stopped(name)
    error = refusal(name, response, code=code, request_id=request_id)
    # The model accepted the request, which ended like this.
    error.acceptance = Acceptance.ACCEPTED
    return error


def failure_in(status: Mapping[str, Any]) -> str | None:
    """Returns the error in the status of a completed request; None if it succeeded."""
    failure = status.get("error_type") or status.get("error")
    return str(failure)[:200] if failure else None


def flagged(name: str, request_id: str) -> ProviderError:
    """Returns the error of images that the model's safety checker flagged."""
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.CONTENT_POLICY,
        message=MESSAGES[Reason.CONTENT_POLICY].format(name=name),
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=VendorError(http_status=200, code="has_nsfw_concepts", request_id=request_id),
    )


def no_image(name: str, response: ProviderResponse, output: Mapping[str, Any], *, request_id: str) -> ProviderError:
    """Returns the error of a success without images; language models give the cause in `description`."""
    words = output.get("description")
    if isinstance(words, str) and (_DECLINED.search(words) or is_refusal(words)):
        error = flagged(name, request_id)
        error.vendor = response.evidence(code="description", message=words, request_id=request_id)
        return error
    vendor = response.evidence(request_id=request_id)
    return operation_errors.unclassified(
        name, "a success without images", acceptance=Acceptance.ACCEPTED, vendor=vendor
    )


def code_of(response: ProviderResponse) -> str:
    """Returns fal's error code; the refusal's, if there are several; empty without one."""
    try:
        body = read_json("", response)
    except ProviderError:
        body = {}
    detail = body.get("detail")
    listed = detail[:MAX_DETAILS] if isinstance(detail, list) else []
    types = [str(item["type"]) for item in listed if isinstance(item, dict) and item.get("type")]
    if types:
        return REFUSED if REFUSED in types else types[0]
    return str(body.get("error_type") or response.headers.get("x-fal-error-type", ""))


def _lock_of(response: ProviderResponse) -> str:
    """Returns the cause of a locked account, which only the text has; empty if it is not locked."""
    found = _LOCKED.search(response.text[:2000]) if response.status_code == 403 else None
    return found.group(1) if found else ""


def _is_the_models(response: ProviderResponse, *, code: str, failure: str | None) -> bool:
    """Returns whether the error is the model's, and not of something between us and the model."""
    if code or response.status_code in (400, 413, 422):
        return True
    if response.status_code >= 500:
        # Only an error that reached the request has its id.
        return failure is not None or "x-fal-request-id" in response.headers
    return False
