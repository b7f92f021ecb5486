"""Lists of jobs of all tenants, for operators."""

from typing import Annotated

from calotype.size_limits import MAX_END_USER_CHARACTERS, MAX_PROVIDER_CHARACTERS
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.schemas.jobs import CodeName, JobView, Status
from gateway.schemas.queries import PlainText, Time
from gateway.schemas.wire import View


class JobFilters(BaseModel):
    """Filters of jobs of all tenants; a job must match each one that is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    tenant: Annotated[PlainText, StringConstraints(max_length=64)] = ""
    """Jobs of this tenant."""
    status: Annotated[list[Status], Field(max_length=20)] = []
    """Jobs in any of these states."""
    id: Annotated[PlainText, StringConstraints(max_length=80)] = ""
    """The job with this id; the whole id."""
    operation_id: Annotated[PlainText, StringConstraints(max_length=2048)] = ""
    """The job of this id of a provider's operation; the whole id."""
    end_user: Annotated[PlainText, StringConstraints(max_length=MAX_END_USER_CHARACTERS)] = ""
    """Jobs of this `end_user`."""
    reason: Annotated[PlainText, StringConstraints(max_length=64)] = ""
    """Jobs that failed for this reason, such as `PROVIDER_AUTH`; `status` must be left out or include `failed`."""
    code: Annotated[CodeName | None, Field(title="Code")] = None
    """Jobs that failed with this class of failure; `status` must be left out or include `failed`."""
    provider: Annotated[PlainText, StringConstraints(max_length=MAX_PROVIDER_CHARACTERS)] = ""
    """Jobs that are routed to this provider."""
    created_after: Time | None = None
    """Jobs accepted after this time (RFC 3339, such as `2026-01-31T12:00:00Z`; write `+` as `%2B` in a URL)."""
    created_before: Time | None = None
    """Jobs accepted before this time (RFC 3339)."""


class ListAnyJobs(JobFilters):
    """Filters and page of a list of jobs of all tenants."""

    status: Annotated[list[Status], Field(max_length=20)] = []
    """Jobs in any of these states; repeat the parameter for several."""
    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    """Most jobs of the page. A page can be shorter, even empty, before the last one: one call examines 1,000 jobs."""
    page_token: Annotated[PlainText, StringConstraints(max_length=2048)] = ""
    """`next_page_token` of the page before; only valid with the same filters. Left out: the first page."""


class TenantJobView(View):
    """A job and its tenant."""

    tenant: str
    """Tenant that owns the job."""
    job: JobView
    """The job; its `queue_position` is null."""


class AnyJobPage(View):
    """A page of jobs of all tenants."""

    jobs: list[TenantJobView]
    """Jobs of this page, newest first."""
    next_page_token: str | None
    """Value of `page_token` for the next page; null on the last page."""
