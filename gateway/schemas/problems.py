"""An answer that is a no, as RFC 9457 has it."""

from pydantic import Field

from gateway.schemas.jobs import Code, JobView
from gateway.schemas.wire import View


class FieldProblem(View):
    """A field that cannot be as it is."""

    field: str
    """As the client wrote it, e.g. `input_images.0.url`."""
    message: str


class ProblemView(View):
    """Why the answer is no, and what to do."""

    type: str = Field(examples=["/problems/invalid-input"])
    title: str
    status: int
    detail: str
    instance: str
    code: Code
    reason: str
    retryable: bool
    request_id: str
    trace_id: str | None
    errors: list[FieldProblem]
    job: JobView | None
    """The job as it is now, where its state is the reason."""
