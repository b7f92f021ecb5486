"""Messages of `WatchJob`: built once for all streams that a change is sent to."""

from calotype.job.v1 import job_service_pb2

from services.job.domain.jobs import Snapshot
from services.job.messages import to_protobuf


class WatchResponses:
    """Builds messages; remembers the last one, as the streams of a job get a change one right after the other."""

    def __init__(self, *, public_base_url: str) -> None:
        self._public_base_url = public_base_url
        self._snapshot: Snapshot | None = None
        self._response = job_service_pb2.WatchJobResponse()

    def of(self, change: Snapshot | job_service_pb2.Progress) -> job_service_pb2.WatchJobResponse:
        """Returns the message of a change, which must not be modified."""
        if isinstance(change, job_service_pb2.Progress):
            return job_service_pb2.WatchJobResponse(progress=change)
        if change is not self._snapshot:
            job = to_protobuf.job(change, public_base_url=self._public_base_url)
            self._snapshot, self._response = change, job_service_pb2.WatchJobResponse(job=job)
        return self._response
