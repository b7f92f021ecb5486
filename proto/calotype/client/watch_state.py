"""State of the watch of one job: the last sequence received, the deadline, and whether the final change arrived."""

import time
from typing import Any

import grpc

from calotype.client import call_policy
from calotype.client.errors import CalotypeError, DeadlineExceeded, from_rpc_error
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2

#: Seconds after which a stream is opened anew, so that none hangs for ever.
STREAM_SECONDS = 300.0

Update = job_pb2.Job | job_service_pb2.Progress


class WatchState:
    """One watch, over any number of streams; `is_complete` once the final change was received."""

    def __init__(self, tenant: str, job_id: str, *, after: int | None, timeout: float | None) -> None:
        self.is_complete = False
        self._tenant = tenant
        self._job_id = job_id
        self._after = after
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._pauses = call_policy.endless_pauses()
        self._unavailable: CalotypeError | None = None

    def stream_request(self) -> job_service_pb2.WatchJobRequest:
        """Returns the request of a stream with the changes that were not received yet."""
        return job_service_pb2.WatchJobRequest(tenant=self._tenant, job_id=self._job_id, after_sequence=self._after)

    def job_request(self) -> job_service_pb2.GetJobRequest:
        """Returns the request for the job as it is now."""
        return job_service_pb2.GetJobRequest(tenant=self._tenant, job_id=self._job_id)

    def call_timeout(self, limit: float) -> float:
        """Returns the time limit of a call in seconds: `limit`, or the time until the deadline when that is less."""
        return limit if self._deadline is None else max(min(limit, self._deadline - time.monotonic()), 0.0)

    def on_response(self, response: job_service_pb2.WatchJobResponse) -> Update:
        """Records a response of a stream; returns the change or progress in it."""
        self._pauses = call_policy.endless_pauses()
        if response.WhichOneof("update") != "job":
            return response.progress
        self._after, self.is_complete = response.job.sequence, call_policy.is_final(response.job)
        return response.job

    def on_current_job(self, job: job_pb2.Job) -> None:
        """Compares the job as it is now with the changes received, after a stream that ended early."""
        self._unavailable = None
        self.is_complete = call_policy.is_final(job) and self._after is not None and self._after >= job.sequence

    def on_error(self, error: Any) -> None:
        """Raises the error of a failed call, unless the service was unavailable: then the watch continues."""
        self._unavailable = from_rpc_error(error)
        if not self.is_complete and not call_policy.is_unavailable(self._unavailable):
            raise self._unavailable from error

    def pause(self) -> float:
        """Returns the seconds to wait before the next stream. Raises `DeadlineExceeded` at the deadline."""
        retry_after = (self._unavailable and self._unavailable.retry_after_seconds) or 0.0
        pause = max(next(self._pauses), retry_after)
        if self._deadline is None or self._timeout is None:
            return pause
        remaining = self._deadline - time.monotonic()
        if remaining > 0:
            return min(pause, remaining)
        raise DeadlineExceeded(
            f"The job {self._job_id} was not final after {self._timeout:g} s; it continues.",
            status=grpc.StatusCode.DEADLINE_EXCEEDED,
            reason=Reason.DEADLINE_EXCEEDED,
        ) from self._unavailable
