"""Batches of new jobs."""

from typing import Annotated

from calotype.size_limits import MAX_BATCH_JOBS
from pydantic import Field, StringConstraints

from gateway.schemas.jobs import JobView
from gateway.schemas.problems import ProblemView
from gateway.schemas.requests import Body, CreateJob
from gateway.schemas.wire import View


class CreateBatchJob(CreateJob):
    """A request for images within a batch."""

    idempotency_key: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")] | None = None
    """Key of this job, as the header `Idempotency-Key` of `POST /v1/jobs`: the same key with the same fields gives the
    same job. 1 to 255 visible ASCII characters, without quotes.

    Null: the key is derived from the `Idempotency-Key` of the request, if it has one, and the position in the batch.
    """


class CreateJobBatch(Body):
    """Requests for images, each of them decided by itself."""

    jobs: Annotated[list[CreateBatchJob], Field(min_length=1, max_length=MAX_BATCH_JOBS)]
    """Jobs to create; 1 to 100."""


class BatchJobResult(View):
    """Result of one job of the batch: either `job` or `problem`."""

    job: JobView | None
    """The new job, or the current one of its key; null if there is none."""
    problem: ProblemView | None
    """The error that `POST /v1/jobs` would return for it; null if there is none. `errors` names fields of the job."""
    replayed: bool
    """True if an earlier request with the same key, or an earlier job of the batch, created the job."""
    retry_after_seconds: float | None
    """When to send this job again, if the problem is temporary; null if that is unknown."""


class JobBatchView(View):
    """Results of a batch."""

    results: list[BatchJobResult]
    """One result for each job, in the order of the request."""
