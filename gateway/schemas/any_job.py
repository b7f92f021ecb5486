"""All that operators see of one job."""

from gateway.schemas.attempts import AttemptView, ProviderCallView
from gateway.schemas.jobs import JobView, Status
from gateway.schemas.webhooks import DeliveryView
from gateway.schemas.wire import Moment, View


class JobSummaryView(View):
    """What is wrong with a job, or what it waits for, in short."""

    stage: str
    """Stage of the failure; `webhook` for a final job with an undelivered event; else the job's status."""
    code: str | None
    """Class of the failure or wait; null if nothing is wrong."""
    reason: str | None
    """Reason of the failure or wait, from the catalogue in docs/errors.md; of a webhook, the attempt's error."""
    message: str | None
    """What happened, in one or two sentences; null if nothing is wrong."""
    provider_call: ProviderCallView | None
    """The last provider call; null before the first."""
    next_step: str
    """What happens next, or what to do, in one or two sentences."""


class LeaseView(View):
    """The claim by which a worker holds a job."""

    worker: str
    """Name of the worker."""
    claim_number: int
    """Number of the claim, as in `attempts`."""
    locked_at: Moment
    """When the worker claimed the job."""
    expires_at: Moment
    """When the job is taken back from the worker, unless it renews the lease."""


class JobEventView(View):
    """One change of a job."""

    sequence: int
    """Number of the change, from 1."""
    type: str
    """Name of the change, such as `job.claimed`."""
    status: Status
    """Status after the change."""
    occurred_at: Moment
    """When it was made."""


class JobDeliveriesView(View):
    """Deliveries of a job's events to webhooks and to its callback URL."""

    available: bool
    """False if the notifier did not respond: `deliveries` is empty then, whatever there may be."""
    problem: str | None
    """Why the deliveries are not available; null if they are."""
    deliveries: list[DeliveryView]
    """Deliveries, newest first, at most 100."""
    has_more: bool
    """True if there are more than these."""


class OperatorLinksView(View):
    """Addresses of other tools with data about the job."""

    trace: str | None
    """The trace, by the gateway's setting `CALOTYPE_TRACE_URL`; null without the setting or without a trace."""
    board: str | None
    """The dashboard, by the gateway's setting `CALOTYPE_BOARD_URL`; null without the setting."""


class AnyJobView(View):
    """A job of any tenant with all that is known of it, including the providers' own error messages."""

    tenant: str
    """Tenant that owns the job."""
    summary: JobSummaryView
    """What is wrong with the job, or what it waits for."""
    job: JobView
    """The job; `wait` says why it waits."""
    attempts: list[AttemptView]
    """Attempts, oldest first."""
    lease: LeaseView | None
    """Lease of the worker that holds the job; null if none does."""
    events: list[JobEventView]
    """Up to 100 changes, newest first."""
    has_older_events: bool
    """True if there are older changes: request them with the lowest `sequence` as `events_before`."""
    deliveries: JobDeliveriesView
    """Deliveries to webhooks and to the callback URL."""
    trace_id: str | None
    """Trace of the job, 32 hexadecimal digits; null if it has none."""
    links: OperatorLinksView
    """Addresses of the trace and the dashboard."""
