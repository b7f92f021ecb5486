"""Types of events that webhooks deliver."""

from dataclasses import dataclass
from datetime import datetime

COMPLETED, FAILED, CANCELED, SETTLED = "job.completed", "job.failed", "job.canceled", "job.settled"
#: Events of jobs. The first three end a job; `job.settled` follows when a canceled call's cost is known.
JOB_EVENTS = (COMPLETED, FAILED, CANCELED, SETTLED)
ENDS = frozenset({COMPLETED, FAILED, CANCELED})

DEGRADED, RECOVERED, DISABLED = "webhook.degraded", "webhook.recovered", "webhook.disabled"
#: Events of an endpoint, for the tenant's other endpoints.
ENDPOINT_EVENTS = (DEGRADED, RECOVERED, DISABLED)
#: Sent by `TestWebhook` only; endpoints cannot subscribe to it.
TEST = "webhook.test"

#: Types that an endpoint may subscribe to.
SUBSCRIBABLE = (*JOB_EVENTS, *ENDPOINT_EVENTS)


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """A final event of a job, as a reference: without the job's content."""

    #: Id of the job.
    job_id: str
    #: Its tenant.
    tenant: str
    #: The job's sequence after the event.
    sequence: int
    #: One of `JOB_EVENTS`.
    type: str
    #: When the event occurred.
    occurred_at: datetime
    #: URL that the job's request named; None for none.
    callback_url: str | None = None


def supersedes(later: str, earlier: str) -> bool:
    """Returns whether an undelivered event of a job is unnecessary once a later one of the same job exists."""
    return later in ENDS or (later == SETTLED and earlier == SETTLED)
