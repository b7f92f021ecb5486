"""Every answer that is a no: `application/problem+json`, from one exception and one table."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from fastapi.responses import Response

from common import tracing
from common.errors import ServiceError
from common.logs import event
from gateway.problems.reasons import REASONS, entry, slug
from gateway.schemas.jobs import JobView
from gateway.schemas.problems import FieldProblem, ProblemView

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MOST_FIELDS = 50
#: gRPC statuses that tell of the way to job-service, whatever reason they carry.
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
_AWAY_SECONDS = 1.0
#: Statuses by which job-service refuses the gateway, not the gateway's caller: their tenants were decided here.
_REFUSES_US = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A field, as the client wrote it, that cannot be as it is."""

    field: str
    message: str


# Not frozen: the machinery of exceptions sets attributes on what it carries.
@dataclass(kw_only=True, eq=False)
class Problem(Exception):
    """An answer that is a no: a reason of the catalogue, words for a person, fields that are wrong."""

    reason: str
    detail: str
    status: int | None = None
    violations: Sequence[Violation] = ()
    retry_after_seconds: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    job: JobView | None = None
    #: For programs; never shown.
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def invalid(violations: Sequence[Violation]) -> Problem:
    """A request with wrong fields; at least one."""
    first = violations[0]
    return Problem(
        reason="INVALID_INPUT", detail=f"{first.field}: {first.message}", violations=tuple(violations[:MOST_FIELDS])
    )


def malformed(detail: str) -> Problem:
    """A body that cannot be read at all."""
    return Problem(reason="MALFORMED", detail=detail)


def from_service_error(error: ServiceError) -> Problem:
    """What job-service said, for the client; nothing of the way there, and no internals."""
    if error.status in _AWAY:
        said = error.reason == "SERVICE_UNAVAILABLE"
        return Problem(
            reason="SERVICE_UNAVAILABLE",
            detail=error.message if said else "The job service cannot be reached at the moment; ask again.",
            retry_after_seconds=_AWAY_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds,
        )
    if error.status in _REFUSES_US or error.reason not in REASONS or entry(error.reason).status >= 500:
        event(_LOG, logging.ERROR, "job_service.failed", grpc_status=error.status.name, reason=error.reason)
        return Problem(reason="INTERNAL", detail="The service failed in a way that it should not; its log tells more.")
    return Problem(
        reason=error.reason,
        detail=error.message,
        violations=tuple(Violation(field=one.field, message=one.description) for one in error.field_violations),
        retry_after_seconds=error.retry_after_seconds,
        metadata=error.metadata,
    )


def respond(problem: Problem, *, instance: str, request_id: str) -> Response:
    """The HTTP answer."""
    meaning = entry(problem.reason)
    status = problem.status or meaning.status
    view = ProblemView(
        type=f"/problems/{slug(problem.reason)}",
        title=meaning.title,
        status=status,
        detail=_writable(problem.detail),
        instance=instance,
        code=meaning.code,
        reason=problem.reason,
        retryable=meaning.retryable,
        request_id=request_id,
        trace_id=tracing.trace_id(tracing.traceparent()) or None,
        errors=[FieldProblem(field=_writable(one.field), message=_writable(one.message)) for one in problem.violations],
        job=problem.job,
    )
    headers = dict(problem.headers)
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_seconds)))
    return Response(view.model_dump_json(), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _writable(written: str) -> str:
    """Half a surrogate pair, which a client may write in JSON, has no place in UTF-8."""
    return written.encode("utf-8", "backslashreplace").decode()
