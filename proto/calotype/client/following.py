"""Where a watcher of one job stands: what it was told, for how long it goes on, and whether it is at the end."""

import time
from typing import Any

import grpc

from calotype.client import calling
from calotype.client.errors import CalotypeError, DeadlineExceeded, read
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2

#: Seconds after which a stream is asked for anew, so that none hangs for ever.
STREAM_SECONDS = 300.0

Update = job_pb2.Job | job_service_pb2.Progress


class Following:
    """One watch, through as many streams as it takes. `is_over` once the final change was told."""

    def __init__(self, tenant: str, job_id: str, *, after: int | None, timeout: float | None) -> None:
        self.is_over = False
        self._tenant = tenant
        self._job_id = job_id
        self._after = after
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._pauses = calling.endless_pauses()
        self._absence: CalotypeError | None = None

    def stream_request(self) -> job_service_pb2.WatchJobRequest:
        """Asks for what was not told yet."""
        return job_service_pb2.WatchJobRequest(tenant=self._tenant, job_id=self._job_id, after_sequence=self._after)

    def job_request(self) -> job_service_pb2.GetJobRequest:
        """Asks how the job stands."""
        return job_service_pb2.GetJobRequest(tenant=self._tenant, job_id=self._job_id)

    def seconds(self, most: float) -> float:
        """What a call may take that may take so many by itself."""
        return most if self._deadline is None else max(min(most, self._deadline - time.monotonic()), 0.0)

    def take(self, response: job_service_pb2.WatchJobResponse) -> Update:
        """What a stream told."""
        self._pauses = calling.endless_pauses()
        if response.WhichOneof("update") != "job":
            return response.progress
        self._after, self.is_over = response.job.sequence, calling.is_over(response.job)
        return response.job

    def compare(self, job: job_pb2.Job) -> None:
        """A stream ended early: see whether anything is left to tell of a job that stands so."""
        self._absence = None
        self.is_over = calling.is_over(job) and self._after is not None and self._after >= job.sequence

    def bear(self, error: Any) -> None:
        """A call failed: raises what the service refused, and goes on when it is away."""
        self._absence = read(error)
        if not self.is_over and not calling.is_away(self._absence):
            raise self._absence from error

    def pause(self) -> float:
        """Seconds to wait before the next stream. Raises `DeadlineExceeded` when there is no time left."""
        named = (self._absence and self._absence.retry_after_seconds) or 0.0
        pause = max(next(self._pauses), named)
        if self._deadline is None or self._timeout is None:
            return pause
        left = self._deadline - time.monotonic()
        if left > 0:
            return min(pause, left)
        raise DeadlineExceeded(
            f"The job {self._job_id} was not final after {self._timeout:g} s; it goes on.",
            status=grpc.StatusCode.DEADLINE_EXCEEDED,
            reason=Reason.DEADLINE_EXCEEDED,
        ) from self._absence
