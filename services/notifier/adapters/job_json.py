"""JSON of jobs, as the HTTP API returns it."""

from collections.abc import Callable
from datetime import UTC, datetime

from calotype.job.v1 import job_pb2

from gateway.views.job import Renderer


class JobJson:
    """Writes jobs as JSON; links begin with `root`, the URL of the HTTP API without a trailing slash."""

    def __init__(self, root: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._root = root
        self._now = now

    def __call__(self, job: job_pb2.Job) -> str:
        """Returns the JSON text of a job."""
        return Renderer(root=self._root, now=self._now()).job(job).model_dump_json()
