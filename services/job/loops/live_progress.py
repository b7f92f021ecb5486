"""Furthest live progress of the jobs of which this process heard any; in memory only."""

from collections import OrderedDict
from typing import NamedTuple

from calotype.job.v1 import job_service_pb2

from services.job.domain.jobs import Job

#: Jobs that are kept; the one whose last message is oldest is forgotten first.
MAX_JOBS = 10_000


class _Furthest(NamedTuple):
    """Progress of one job."""

    #: `Job.retry_count` of the run that it belongs to.
    retry_count: int
    #: Percent of the generating stage, 0 to 100.
    percent: float


class LiveProgress:
    """Keeps the furthest progress of each job since its creation or its last user retry.

    Every replica hears the progress of all jobs, so each of them gives the same answer about a job that reports. After
    a start it knows nothing until a worker reports again.
    """

    def __init__(self, *, limit: int = MAX_JOBS) -> None:
        self._limit = limit
        self._by_job: OrderedDict[str, _Furthest] = OrderedDict()

    def update(self, job_id: str, progress: job_service_pb2.Progress) -> None:
        """Notes a message of a worker. One of an earlier run is ignored, and one that does not say its run."""
        if not progress.HasField("retry_count"):
            return
        # The order of the arguments makes 0 of NaN.
        heard = _Furthest(progress.retry_count, max(0.0, min(progress.percent, 100.0)))
        self._by_job[job_id] = max(heard, self._by_job.get(job_id, heard))
        self._by_job.move_to_end(job_id)
        if len(self._by_job) > self._limit:
            self._by_job.popitem(last=False)

    def of(self, job: Job) -> float | None:
        """Returns the furthest progress of the job's current run in percent; None when unknown, and for a final job."""
        furthest = self._by_job.get(job.id)
        if furthest is None or furthest.retry_count != job.retry_count or job.is_final:
            return None
        return furthest.percent
