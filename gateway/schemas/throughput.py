"""Jobs that ended lately, for operators."""

from gateway.schemas.jobs import Status
from gateway.schemas.wire import Moment, View


class MinuteView(View):
    """Number of jobs that ended within one minute."""

    starts_at: Moment
    """Start of the minute."""
    completed: int
    """Jobs that were completed."""
    failed: int
    """Jobs that failed."""
    canceled: int
    """Jobs that were canceled."""


class FailureCountView(View):
    """Number of jobs that failed for one reason."""

    reason: str
    """Reason from the catalogue in docs/errors.md."""
    jobs: int
    """Number of jobs."""


class StageAgeView(View):
    """Age of the job that has been in a stage for longest."""

    status: Status
    """Stage: `processing`, `generating` or `uploading`."""
    oldest_seconds: float
    """Seconds since that job came into the stage; 0 for an empty stage."""


class ThroughputView(View):
    """Jobs that ended in the last hour and did not change since; a failed job that was retried is not among them."""

    now: Moment
    """Time of the database."""
    counted_since: Moment
    """Time from which on all jobs are counted: an hour ago, or the end of the oldest of the 2,000 newest ones."""
    minutes: list[MinuteView]
    """Minutes in which jobs ended, oldest first; a minute without any is left out."""
    failures: list[FailureCountView]
    """The 10 most frequent reasons of the failures that are counted, in descending order."""
    stages: list[StageAgeView]
    """Age of each stage at a worker; `oldest_queued_at` of the queue has that of the queue."""
