"""Builds error responses in OpenAI's format: `{"error": {...}}`, with the statuses that its clients handle."""

import math
from types import MappingProxyType

from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2
from fastapi.responses import Response

from gateway.openai_images.schemas import OpenAIError, OpenAIErrorBody
from gateway.problems.problem import Problem
from gateway.problems.reasons import OpenAIReason, entry
from gateway.views.protobuf import failure_reason, optional

JOB_HEADER = "x-calotype-job-id"
#: Paths whose responses have OpenAI's format.
PATHS = ("/v1/images/", "/v1/models")
_NO_RETRY = MappingProxyType({"x-should-retry": "false"})
#: The code that clients know for an exhausted budget. They repeat a 429 unless x-should-retry says that it is useless.
_OUT_OF_CREDIT = "insufficient_quota"
#: Status and code by reason; other reasons have the status in `REASONS`, and their name in lower case as code.
TABLE = MappingProxyType(
    {
        Reason.CONTENT_POLICY: (400, "content_policy_violation"),
        Reason.INVALID_INPUT: (400, "invalid_value"),
        OpenAIReason.MODEL_NOT_FOUND: (404, "model_not_found"),
        Reason.PROVIDER_NOT_FOUND: (404, "model_not_found"),
        Reason.UNAUTHENTICATED: (401, "invalid_api_key"),
        Reason.PROVIDER_RATE_LIMIT: (429, "rate_limit_exceeded"),
        Reason.PROVIDER_BUSY: (429, "rate_limit_exceeded"),
        Reason.QUOTA_EXCEEDED: (429, "rate_limit_exceeded"),
        Reason.QUOTA_EXHAUSTED: (429, _OUT_OF_CREDIT),
        Reason.BUDGET_EXHAUSTED: (429, _OUT_OF_CREDIT),
        # Not the caller's mistake: the provider's configuration names a model or address that does not exist.
        Reason.PROVIDER_REJECTED: (502, "provider_rejected"),
        OpenAIReason.JOB_CANCELED: (409, "job_canceled"),
        OpenAIReason.STILL_RUNNING: (504, "still_running"),
    }
)
_TYPES = MappingProxyType({401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"})
#: Names of these calls for fields of a job.
_PARAMETERS = MappingProxyType({"provider": "model", "input_images": "image", "image[]": "image", "end_user": "user"})
_UNPROCESSABLE, _BAD, _SERVER_FAULT = 422, 400, 500


def is_openai_path(path: str) -> bool:
    """Returns whether responses under this path have OpenAI's format."""
    return path.startswith(PATHS)


def body(problem: Problem) -> tuple[int, OpenAIErrorBody]:
    """Returns the status and body of the error response."""
    param = _param(problem)
    is_unknown_model = param == "model" and problem.reason == Reason.INVALID_INPUT
    reason = OpenAIReason.MODEL_NOT_FOUND if is_unknown_model else problem.reason
    status, code = TABLE.get(reason) or (problem.status or entry(reason).status, reason.lower())
    # OpenAI uses 400, not 422, for an invalid field.
    status = _BAD if status == _UNPROCESSABLE else status
    error = OpenAIError(
        message=problem.detail.encode("utf-8", "backslashreplace").decode(),
        type=_TYPES.get(status) or ("server_error" if status >= _SERVER_FAULT else "invalid_request_error"),
        param=param,
        code=code,
        job_id=problem.headers.get(JOB_HEADER),
    )
    return status, OpenAIErrorBody(error=error)


def respond(problem: Problem) -> Response:
    """Returns the HTTP response."""
    status, content = body(problem)
    headers = dict(problem.headers)
    if content.error.code == _OUT_OF_CREDIT:
        headers |= _NO_RETRY
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_seconds)))
    return Response(content.model_dump_json(), status_code=status, headers=headers, media_type="application/json")


def problem_of_job(job: job_pb2.Job) -> Problem | None:
    """Returns why a final job has no images; None if it has. Its headers tell clients not to repeat the request."""
    headers = {JOB_HEADER: job.id, **_NO_RETRY}
    if job.status == job_pb2.STATUS_CANCELED:
        return Problem(reason=OpenAIReason.JOB_CANCELED, detail=f"The job {job.id} was canceled.", headers=headers)
    if job.status != job_pb2.STATUS_FAILED:
        return None
    return Problem(
        reason=failure_reason(job.failure.reason) or Reason.UNCLASSIFIED,
        detail=job.failure.message,
        retry_after_seconds=optional(job.failure, "retry_after_seconds"),
        headers=headers,
    )


def still_running(job: job_pb2.Job) -> Problem:
    """Returns the problem of a job that takes longer than a request is held."""
    return Problem(
        reason=OpenAIReason.STILL_RUNNING,
        detail=f"The job {job.id} is still running. Repeat this request to wait for it, or read GET /v1/jobs/{job.id}.",
        headers={JOB_HEADER: job.id},
    )


def unavailable_problem(job: job_pb2.Job) -> Problem:
    """Returns the problem of a request that cannot be held any longer, though its job is not affected."""
    return Problem(
        reason=Reason.SERVICE_UNAVAILABLE,
        detail=f"The job {job.id} is still running, but cannot be followed right now. Repeat this request to wait.",
        retry_after_seconds=1,
        headers={JOB_HEADER: job.id},
    )


def _param(problem: Problem) -> str | None:
    if not problem.violations:
        return "model" if problem.reason in (OpenAIReason.MODEL_NOT_FOUND, Reason.PROVIDER_NOT_FOUND) else None
    field = problem.violations[0].field.partition(".")[0]
    return _PARAMETERS.get(field, field)
