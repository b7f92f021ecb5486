"""Filters by which operators find jobs of all tenants."""

from dataclasses import dataclass
from datetime import datetime

from services.job.domain.states import State


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Filters of a search over all tenants, combined by AND; an empty one is ignored."""

    #: Owner of the jobs.
    tenant: str = ""
    #: Any of these.
    states: tuple[State, ...] = ()
    #: `Job.id`, whole.
    job_id: str = ""
    #: Id that a provider gave to one of the job's calls, whole.
    operation_id: str = ""
    #: `Job.end_user`.
    end_user: str = ""
    #: A `Reason` value; only failed jobs match.
    reason: str = ""
    #: A `Code` value; only failed jobs match.
    code: str = ""
    #: `Job.provider`.
    provider: str = ""
    #: Exclusive lower bound.
    created_after: datetime | None = None
    #: Exclusive upper bound.
    created_before: datetime | None = None
