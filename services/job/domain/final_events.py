"""Final events: what job-service reports about the end of jobs."""

from dataclasses import dataclass
from datetime import datetime

from services.job.domain.jobs import Snapshot


@dataclass(frozen=True, kw_only=True)
class FinalEventReference:
    """A final event without the job's content."""

    #: Id of the job.
    job_id: str
    #: Owner of the job.
    tenant: str
    #: `Job.sequence` after the event.
    sequence: int
    #: Type of the event, such as `job.completed`.
    type: str
    #: When the event occurred.
    occurred_at: datetime
    #: URL that the request wants notified; None for none. It remains when the job is deleted.
    callback_url: str | None


@dataclass(frozen=True, kw_only=True)
class FinalEvent:
    """A final event with its job."""

    #: The event.
    reference: FinalEventReference
    #: The job as it was at the event, with its request; without the user's data once the job is deleted.
    snapshot: Snapshot
