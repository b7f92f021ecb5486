"""JSON of jobs, as the HTTP API returns it."""

from collections.abc import Callable
from datetime import UTC, datetime

from calotype.job.v1 import job_pb2

from gateway.views.job import Renderer


class JobJson:
    """Writes jobs as JSON; links begin with `root`, the URL of the HTTP API without a trailing slash.

    `trace_url` is the address of a trace with `{trace_id}` for its id; None: jobs have no such link.
    """

    def __init__(
        self, root: str, *, trace_url: str | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._root = root
        self._now = now
        self._trace_url = trace_url

    def __call__(self, job: job_pb2.Job) -> str:
        """Returns the JSON text of a job."""
        return Renderer(root=self._root, now=self._now(), trace_url=self._trace_url).job(job).model_dump_json()
