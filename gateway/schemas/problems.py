"""Error responses: problem details of RFC 9457."""

from pydantic import Field

from gateway.schemas.jobs import CodeName, JobView
from gateway.schemas.wire import View


class FieldProblem(View):
    """A wrong field of the request."""

    field: str
    """Path of the field as the client wrote it, such as `input_images.0.url`."""
    message: str
    """What is wrong, for people."""


class ProblemView(View):
    """Error response: what went wrong and what to do."""

    type: str = Field(examples=["/problems/invalid-input"])
    """Path of the page that explains the reason, relative to this service."""
    title: str
    """Short title of the reason."""
    status: int
    """HTTP status of the response."""
    detail: str
    """What went wrong in this request, for people."""
    instance: str
    """Path of the request."""
    code: CodeName
    """Class of the reason."""
    reason: str
    """Reason within the class, from the catalogue in docs/errors.md, such as `INVALID_INPUT`."""
    retryable: bool
    """True if the same request can succeed later; `Retry-After` says when to repeat it."""
    request_id: str
    """Id of the request, which is also in the header `X-Request-Id` and in the service's log."""
    trace_id: str | None
    """Trace of the request, 32 hexadecimal digits; null if the request was not traced."""
    errors: list[FieldProblem]
    """Every wrong field, at most 50; empty if the reason concerns no field."""
    job: JobView | None
    """The job as it is now, if its state is the reason; null otherwise."""
