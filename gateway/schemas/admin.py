"""What operators see."""

from gateway.schemas.attempts import AttemptView
from gateway.schemas.catalogue import ProviderView
from gateway.schemas.jobs import JobView
from gateway.schemas.wire import Moment, View


class DeadLetterView(View):
    """A message that was refused for good; its body is not shown."""

    id: str
    died_at: Moment
    reason: str
    subject: str
    type: str | None
    job_id: str | None
    size_bytes: int
    sha256: str


class DeadLetterPage(View):
    """Dead letters, oldest first."""

    dead_letters: list[DeadLetterView]
    next_page_token: str | None


class JobCountsView(View):
    """Jobs that are not final; `waiting` ones sit in the queue until a pause is over."""

    queued: int
    waiting: int
    processing: int
    generating: int
    uploading: int


class TenantQueueView(View):
    """What one tenant has under way."""

    tenant: str
    jobs: JobCountsView
    oldest_queued_at: Moment | None


class QueueView(View):
    """What is under way; `tenants` are those with most jobs, at most 100."""

    jobs: JobCountsView
    oldest_queued_at: Moment | None
    tenants: list[TenantQueueView]
    unpublished_messages: int
    """Decided upon, and not told yet: more than a few mean that the broker is away."""
    open_settlements: int
    """Calls of final jobs whose end at the provider is not known yet."""
    open_deletions: int
    """Folders whose pictures are still to be deleted."""
    oldest_deletion_at: Moment | None
    """Since when the oldest of them waits."""
    missing_objects: int
    """Pictures of completed jobs that are not in the public bucket, by the last look at all of it."""


class ProviderUseView(View):
    """A provider and what is in use of it."""

    provider: ProviderView
    in_use: int
    """Places that are taken, of `max_concurrency`."""
    calls_in_last_minute: int
    """Of `requests_per_minute`."""
    registered_by: str
    registered_at: Moment


class ProviderUseList(View):
    """The catalogue with what is in use of it, by name."""

    providers: list[ProviderUseView]


class AnyJobView(View):
    """A job of any tenant and every attempt, oldest first; errors of providers in the vendors' own words."""

    tenant: str
    job: JobView
    attempts: list[AttemptView]


class SpendView(View):
    """What was spent in a day or a month (UTC), in millionths of a US dollar."""

    starts_on: str
    spent_micros: int
    """By calls whose end is known."""
    reserved_micros: int
    """For calls that are under way, and those of which nobody knows the end."""


class TenantSpendView(View):
    """A tenant with a budget, and what it has spent of it."""

    tenant: str
    allowed_providers: list[str] | None
    budget_micros_per_day: int | None
    budget_micros_per_month: int | None
    day: SpendView
    month: SpendView


class SpendPage(View):
    """Tenants that have a budget, by name."""

    tenants: list[TenantSpendView]
    next_page_token: str | None
