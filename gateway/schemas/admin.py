"""What operators see."""

from gateway.schemas.catalogue import ProviderView
from gateway.schemas.wire import Moment, View


class DeadLetterView(View):
    """A message that job-service could not apply. Its body is not returned: it may contain a prompt."""

    id: str
    """Id for a replay; opaque."""
    died_at: Moment
    """When the message was refused, or set aside to be tried again."""
    reason: str
    """Why it could not be applied."""
    subject: str
    """NATS subject that it was published on."""
    type: str | None
    """CloudEvents type; null if it had none."""
    job_id: str | None
    """Job that it concerns; null if it does not say."""
    size_bytes: int
    """Size of its body in bytes."""
    sha256: str
    """SHA-256 of its body, 64 lower-case hexadecimal digits."""


class DeadLetterPage(View):
    """A page of dead letters."""

    dead_letters: list[DeadLetterView]
    """Dead letters of this page, oldest first."""
    next_page_token: str | None
    """Value of `page_token` for the next page; null on the last page."""


class JobCountsView(View):
    """Number of jobs that are not final, by state."""

    queued: int
    """Jobs in the queue that a worker can claim now."""
    waiting: int
    """Jobs in the queue that are not due yet: they wait after a failure, or for a limit."""
    processing: int
    """Jobs that a generator has claimed and not sent to a provider yet."""
    generating: int
    """Jobs at a provider."""
    uploading: int
    """Jobs whose images are uploaded or wait for an uploader."""
    is_exact: bool
    """Whether all jobs were counted; if false, read each number as "at least"."""


class TenantQueueView(View):
    """Number of jobs of one tenant."""

    tenant: str
    """Name of the tenant."""
    jobs: JobCountsView
    """Number of the tenant's jobs that are not final."""
    oldest_queued_at: Moment | None
    """When the oldest queued job of the tenant, of those counted, entered the queue; null if none is queued."""


class QueueView(View):
    """Work in progress: jobs that are not final, and what is left to do for jobs that are."""

    jobs: JobCountsView
    """Jobs of all tenants that are not final."""
    oldest_queued_at: Moment | None
    """When the oldest queued job, of those counted, entered the queue; null if none is queued."""
    tenants: list[TenantQueueView]
    """The tenants with most jobs, at most 100, in descending order; of more than 1,000 tenants, not all are counted."""
    unpublished_messages: int
    """Messages stored and not published yet, up to 10,001; more than a few mean that NATS is unavailable."""
    open_settlements: int
    """Provider calls of final jobs whose end at the provider is not known yet; up to 10,001."""
    open_deletions: int
    """Folders in the object store whose images are still to be deleted; up to 10,001."""
    oldest_deletion_at: Moment | None
    """When the oldest of these deletions was requested; null if there is none."""
    missing_objects: int
    """Images of completed jobs that are not in the public bucket, found by the last check of the whole bucket."""


class ProviderUseView(View):
    """A provider and the use of its limits."""

    provider: ProviderView
    """The provider as the catalogue describes it."""
    in_use: int
    """Calls in progress; `max_concurrency` is their limit."""
    calls_in_last_minute: int
    """Calls of the last minute; `requests_per_minute` is their limit."""
    registered_by: str
    """Generator that registered the provider last."""
    registered_at: Moment
    """When the provider was registered last."""
    spent_micros: int
    """Sum of the known costs of the calls that began since `spent_since`, in millionths of a US dollar."""
    calls_without_cost: int
    """Of these calls, those that may have been charged, and whose cost is not known: in progress, of unknown outcome,
    or without a price."""
    spent_since: Moment | None
    """Begin of the day in UTC; later for a provider with more than 1,000 calls today, of which the last ones count.
    Null from a job-service that does not know it."""


class ProviderUseList(View):
    """Every provider and the use of its limits."""

    providers: list[ProviderUseView]
    """Providers by name."""


class SpendView(View):
    """Spend of one day or one month (UTC), in millionths of a US dollar."""

    starts_on: str
    """First day of the period, such as `2026-01-31`."""
    spent_micros: int
    """Cost of calls whose end is known."""
    reserved_micros: int
    """Reserved for calls in progress, and for calls whose outcome is unknown."""


class TenantSpendView(View):
    """A tenant with a budget, and its spend."""

    tenant: str
    """Name of the tenant."""
    allowed_providers: list[str] | None
    """Providers (`name` or `name/model`) that the tenant may use; null: every provider."""
    budget_micros_per_day: int | None
    """Budget of a day in millionths of a US dollar; null: no limit."""
    budget_micros_per_month: int | None
    """Budget of a month in millionths of a US dollar; null: no limit."""
    day: SpendView
    """Spend of today (UTC)."""
    month: SpendView
    """Spend of this month (UTC)."""


class SpendPage(View):
    """A page of tenants that have a budget."""

    tenants: list[TenantSpendView]
    """Tenants of this page, by name."""
    next_page_token: str | None
    """Value of `page_token` for the next page; null on the last page."""
