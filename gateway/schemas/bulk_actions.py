"""Bulk actions, for operators: cancel or retry every job of a filter."""

from typing import Literal

from gateway.schemas.admin_jobs import JobFilters
from gateway.schemas.jobs import CodeName, OnAmbiguous, Status
from gateway.schemas.requests import Body
from gateway.schemas.wire import Moment, View

BulkActionName = Literal["cancel", "retry"]
BulkActionStatus = Literal["running", "finished", "canceled"]


class CreateBulkAction(Body):
    """What to do with which jobs."""

    action: BulkActionName
    """What to do with each job."""
    filter: JobFilters
    """Jobs to do it with; at least one filter is needed. `status`, if given, must be states that the action applies to.

    Jobs that are created after the request are not touched.
    """
    on_ambiguous: OnAmbiguous = "fail"
    """`retry` consents to pay again for images whose paid call has an unknown outcome; for retries only."""


class BulkPreviewView(View):
    """Jobs that a bulk action would look at now."""

    matched: int
    """Number of jobs; at most 10,000 are counted."""
    is_matched_exact: bool
    """False if there may be more."""
    job_ids: list[str]
    """Ids of the newest of them, at most 10."""


class BulkFilterView(View):
    """The filter of a bulk action; null where none was given."""

    tenant: str | None
    """Jobs of this tenant."""
    status: list[Status]
    """Jobs in any of these states; empty: every state that the action applies to."""
    id: str | None
    """The job with this id."""
    operation_id: str | None
    """The job of this id of a provider's operation."""
    end_user: str | None
    """Jobs of this `end_user`."""
    reason: str | None
    """Jobs that failed for this reason."""
    code: CodeName | None
    """Jobs that failed with this class of failure."""
    provider: str | None
    """Jobs that are routed to this provider."""
    created_after: Moment | None
    """Jobs accepted after this time."""
    created_before: Moment | None
    """Jobs accepted before this time."""


class BulkRefusalView(View):
    """Jobs that were refused for one reason."""

    reason: str
    """Reason from the catalogue in docs/errors.md, such as `CONSENT_REQUIRED` or `BUDGET_EXHAUSTED`."""
    count: int
    """Number of jobs."""
    job_id: str
    """Id of the first of them."""


class BulkActionView(View):
    """A bulk action and its progress."""

    id: str
    """Id of the bulk action, `bulk_...`."""
    action: BulkActionName
    """What it does with each job."""
    filter: BulkFilterView
    """Jobs that it does it with."""
    on_ambiguous: OnAmbiguous
    """`retry`: images whose paid call has an unknown outcome may be paid for again."""
    requested_by: str
    """Who requested it: tenant and key of the operator."""
    status: BulkActionStatus
    """How far it is."""
    matched: int
    """Jobs that matched at the time of the request; at most 10,000 are counted."""
    is_matched_exact: bool
    """False if there may have been more; the action works on all of them."""
    done: int
    """Jobs that were canceled or retried."""
    skipped: int
    """Jobs that somebody else had changed, so that the action did not apply any more."""
    refused: int
    """Jobs that could not be changed; `refusals` says why."""
    refusals: list[BulkRefusalView]
    """Refused jobs by reason."""
    created_at: Moment
    """Time of the request."""
    finished_at: Moment | None
    """When it finished or was canceled; null while it is running."""


class BulkActionList(View):
    """The newest bulk actions."""

    bulk_actions: list[BulkActionView]
    """Bulk actions, newest first, at most 50."""
