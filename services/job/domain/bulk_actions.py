"""Bulk actions of operators: cancel or retry every job of a filter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.job.domain.job_filter import JobFilter
from services.job.domain.jobs import Job
from services.job.domain.refusals import Violation
from services.job.domain.states import FINAL, State

#: Bulk actions that are running at a time.
MAX_RUNNING = 20


class BulkActionKind(StrEnum):
    """What a bulk action does with each job."""

    #: Cancels it.
    CANCEL = "cancel"
    #: Retries it.
    RETRY = "retry"


class BulkActionState(StrEnum):
    """How far a bulk action is."""

    #: It has jobs to look at.
    RUNNING = "running"
    #: It has seen every job. Final.
    FINISHED = "finished"
    #: An operator stopped it. Final.
    CANCELED = "canceled"


#: States of jobs that each kind applies to.
APPLIES_TO: Mapping[BulkActionKind, frozenset[State]] = {
    BulkActionKind.CANCEL: frozenset(State) - FINAL,
    BulkActionKind.RETRY: frozenset({State.FAILED}),
}


@dataclass(frozen=True, kw_only=True)
class BulkActionRequest:
    """What to do with which jobs."""

    #: What to do.
    kind: BulkActionKind
    #: Jobs to do it with.
    filter: JobFilter
    #: Whether jobs are retried although a paid call's outcome is unknown, which may then be charged twice.
    consents: bool = False

    def faults(self) -> Iterator[Violation]:
        """Yields what is wrong, beyond the values of the filters."""
        if self.filter == JobFilter():
            message = f"Set at least one filter; to {self.kind} every job, name its states: {self._states()}."
            yield Violation(field="filter", message=message)
        if not set(self.filter.states) <= APPLIES_TO[self.kind]:
            yield Violation(field="filter.statuses", message=f"To {self.kind}: {self._states()}.")
        if self.kind is BulkActionKind.CANCEL:
            for name in ("reason", "code"):
                if getattr(self.filter, name):
                    yield Violation(
                        field=f"filter.{name}", message="Only failed jobs have one, and they cannot be canceled."
                    )
            if self.consents:
                yield Violation(field="on_ambiguous", message="Only a retry may be charged again.")

    def filter_before(self, requested_at: datetime) -> JobFilter:
        """Returns the filter of the jobs that existed at the request, in states that the action applies to."""
        before = min(self.filter.created_before or requested_at, requested_at)
        return replace(self.filter, states=self.filter.states or self._in_order(), created_before=before)

    def _in_order(self) -> tuple[State, ...]:
        return tuple(state for state in State if state in APPLIES_TO[self.kind])

    def _states(self) -> str:
        return ", ".join(self._in_order())


@dataclass(frozen=True, kw_only=True)
class RefusedJobs:
    """Jobs that were refused for one reason."""

    #: Number of jobs.
    count: int
    #: Id of the first of them.
    job_id: str


@dataclass(frozen=True, kw_only=True)
class MatchCount:
    """Number of jobs that match, counted up to a bound."""

    #: Jobs.
    matched: int
    #: Whether `matched` is all of them; False means at least.
    is_exact: bool
    #: Ids of the newest of them.
    sample: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BulkAction:
    """A bulk action and its progress."""

    #: `bulk_` and 32 hex digits.
    id: str
    #: What it does with which jobs.
    request: BulkActionRequest
    #: Who requested it.
    requested_by: str
    #: How far it is.
    state: BulkActionState
    #: Jobs that matched at the request, counted up to a bound.
    matched: int
    #: Whether `matched` was all of them.
    is_exact: bool
    #: Creation time and id of the last job that was looked at, newest first; None before the first.
    reached: tuple[datetime, str] | None
    #: Jobs that were canceled or retried.
    done: int
    #: Jobs that had changed since the request, so that it did not apply any more.
    skipped: int
    #: Refused jobs by reason.
    refused: Mapping[str, RefusedJobs]
    #: Time of the request, by the database's clock.
    created_at: datetime
    #: End; None while it is running.
    finished_at: datetime | None

    @property
    def wanted(self) -> JobFilter:
        """The filter of the jobs to look at."""
        return self.request.filter_before(self.created_at)

    def applies_to(self, job: Job) -> bool:
        """Whether a found job is still as it was requested for.

        A job that failed after the request is not retried: somebody else retried it meanwhile, or it was running.
        """
        if job.deleted_at is not None or job.state not in self.wanted.states:
            return False
        return job.completed_at is None or job.completed_at <= self.created_at

    def with_refused(self, reason: str, job_id: str) -> "BulkAction":
        """Returns it with one more refused job."""
        known = self.refused.get(reason, RefusedJobs(count=0, job_id=job_id))
        return replace(self, refused={**self.refused, reason: replace(known, count=known.count + 1)})
