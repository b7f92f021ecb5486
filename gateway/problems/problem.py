"""The exception for every error response, and its rendering as `application/problem+json` (RFC 9457)."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from calotype.error_reasons import Reason
from fastapi.responses import Response

from common import tracing
from common.errors import ServiceError
from common.logs import event
from gateway.problems.reasons import REASONS, OpenAIReason, entry, slug
from gateway.schemas.jobs import JobView
from gateway.schemas.problems import FieldProblem, ProblemView

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
#: Largest number of invalid fields that one response lists.
FIELD_LIMIT = 50
#: gRPC statuses which mean that a service could not be reached in time, whatever reason they carry.
_UNREACHABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
_UNREACHABLE_RETRY_SECONDS = 1.0
#: Statuses with which a service refuses the gateway itself, not its caller: the gateway has checked the caller.
_GATEWAY_REFUSED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
INTERNAL_DETAIL = "Internal error. Report the request id (X-Request-Id) to the operator; the log has the details."


@dataclass(frozen=True, kw_only=True)
class Violation:
    """An invalid field of a request."""

    field: str
    """Path as the client wrote it, such as `input_images.0.url`, or the name of a header or parameter."""
    message: str
    """What is wrong with it, or what to write instead."""


# Not frozen: raising an exception sets attributes on it.
@dataclass(kw_only=True, eq=False)
class Problem(Exception):
    """An error response that is not rendered yet."""

    reason: Reason | OpenAIReason
    """What went wrong; decides the status, unless `status` does."""
    detail: str
    """What went wrong this time, for people."""
    status: int | None = None
    """HTTP status; None: the one in the table of reasons."""
    violations: Sequence[Violation] = ()
    """The invalid fields; empty unless the reason is about fields."""
    retry_after_seconds: float | None = None
    """When to try again, for the Retry-After header; None: no header."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the response."""
    job: JobView | None = None
    """The job as it is now, where its state is the cause."""
    #: Details from job-service for the gateway's own use; never sent to clients.
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def invalid(violations: Sequence[Violation]) -> Problem:
    """Returns the problem of a request with invalid fields; needs at least one violation."""
    first = violations[0]
    return Problem(
        reason=Reason.INVALID_INPUT,
        detail=f"{first.field}: {first.message}",
        violations=tuple(violations[:FIELD_LIMIT]),
    )


def malformed(detail: str) -> Problem:
    """Returns the problem of a request that cannot be parsed."""
    return Problem(reason=Reason.MALFORMED, detail=detail)


def from_service_error(error: ServiceError, *, service: str = "job service") -> Problem:
    """Returns the problem for an error of a service, without details of the connection or of internals."""
    if error.status in _UNREACHABLE:
        # Only with this reason is the message written by a service of ours; any other is the gRPC library's.
        has_own_message = error.reason == Reason.SERVICE_UNAVAILABLE
        return Problem(
            reason=Reason.SERVICE_UNAVAILABLE,
            detail=error.message if has_own_message else f"The {service} cannot be reached right now. Try again.",
            retry_after_seconds=(
                _UNREACHABLE_RETRY_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds
            ),
        )
    if error.status in _GATEWAY_REFUSED or error.reason not in REASONS or entry(error.reason).status >= 500:
        event(
            _LOG,
            logging.ERROR,
            f"{service.replace(' ', '_')}.failed",
            grpc_status=error.status.name,
            reason=error.reason,
        )
        return Problem(reason=Reason.INTERNAL, detail=INTERNAL_DETAIL)
    return Problem(
        reason=error.reason,
        detail=error.message,
        violations=tuple(
            Violation(field=violation.field, message=violation.description) for violation in error.field_violations
        ),
        retry_after_seconds=error.retry_after_seconds,
        metadata=error.metadata,
    )


def respond(problem: Problem, *, instance: str, request_id: str) -> Response:
    """Returns the HTTP response; `instance` is the path of the request."""
    view = view_of(problem, instance=instance, request_id=request_id)
    headers = dict(problem.headers)
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_seconds)))
    return Response(view.model_dump_json(), status_code=view.status, headers=headers, media_type=MEDIA_TYPE)


def view_of(problem: Problem, *, instance: str, request_id: str) -> ProblemView:
    """Returns the problem details; `instance` is the path of the request."""
    meaning = entry(problem.reason)
    return ProblemView(
        type=f"/problems/{slug(problem.reason)}",
        title=meaning.title,
        status=problem.status or meaning.status,
        detail=_encodable(problem.detail),
        instance=instance,
        code=meaning.code,
        reason=problem.reason,
        retryable=meaning.retryable,
        request_id=request_id,
        trace_id=tracing.trace_id(tracing.traceparent()) or None,
        errors=[
            FieldProblem(field=_encodable(violation.field), message=_encodable(violation.message))
            for violation in problem.violations
        ],
        job=problem.job,
    )


def _encodable(text: str) -> str:
    """Escapes lone surrogates, which a client can write in JSON but UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()
