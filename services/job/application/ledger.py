"""Writes workers' reports on calls and images to the ledger, with or without a valid lease: no purchase is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from common.sql import Connection
from services.job.application import provider_cancel
from services.job.domain import transitions
from services.job.domain.calls import CallPhase, WorkerReport
from services.job.domain.jobs import Artifact, Fence, Job, ProviderCancel, Snapshot
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, calls, deletions, erasure, job_writer


@dataclass(frozen=True, kw_only=True)
class LedgerChange:
    """What reports have changed in the ledger."""

    #: Calls that ended.
    calls: list[calls.SettledCall]
    #: All images, by id, of the jobs for which images were reported.
    staged: dict[str, list[Artifact]]


def settle(
    connection: Connection, reports: Sequence[tuple[str, WorkerReport]], locked: Mapping[str, Job]
) -> LedgerChange:
    """Settles calls and stages images by (job id, report); returns what changed.

    `locked` are the jobs by id; a report on a job that is not there settles its calls only. Images for a job that is
    over are deleted, and providers' messages for a deleted job are erased.
    """
    settled = calls.settle(connection, [outcome for _, report in reports for outcome in report.calls])
    jobs = [locked[job_id] for job_id, _ in reports if job_id in locked]
    if deleted := [job.id for job in jobs if job.deleted_at is not None]:
        erasure.erase_provider_messages(connection, deleted)
    images = [image for job_id, report in reports if job_id in locked for image in report.images]
    staged = artifacts.stage(connection, [image for image in images if locked[image.job_id].wants(image)])
    deletions.add_staging(connection, {job.id for job in jobs if job.is_over})
    return LedgerChange(calls=settled, staged=staged)


def within_claim(connection: Connection, fence: Fence, report: WorkerReport) -> WorkerReport:
    """Returns the part of a worker's report that its claim can know.

    That is calls of its job, NOT_SENT only for calls of its own claim, and images of those calls. A fence that is no
    generator's claim, current or past, can know nothing.
    """
    if not (report.calls or report.images) or not attempts.generators_claims(connection, [fence]):
        return WorkerReport()
    claims = {call.id: call.claim_number for call in calls.of_jobs(connection, [fence.job_id])[fence.job_id]}
    own = {call_id for call_id, claim in claims.items() if claim == fence.claim_number}
    return WorkerReport(
        calls=tuple(
            call for call in report.calls if call.call_id in (own if call.phase is CallPhase.NOT_SENT else claims)
        ),
        images=tuple(image for image in report.images if image.call_id in claims),
    )


@dataclass(frozen=True, kw_only=True)
class LateReport:
    """A report on a job that no longer changes the job's state."""

    #: The locked job.
    job: Job
    #: Reported calls and images.
    report: WorkerReport = field(default_factory=WorkerReport)
    #: Reported result of canceling at the provider; None when the report has none.
    provider_cancel: ProviderCancel | None = None


def visible_changes(
    connection: Connection,
    reports: Sequence[LateReport],
    before: Mapping[str, Snapshot],
    settled: Sequence[calls.SettledCall],
    *,
    now: datetime,
) -> list[Change]:
    """Returns a SETTLE change for each job that clients now see differently, although its state stays.

    So a client's view is a function of the job and its sequence. A final job also changes with every call that ended,
    a canceled one with the result of canceling at the provider; a deleted one never changes. `before` are the jobs'
    snapshots from before the reports were written.
    """
    reports = [late for late in reports if late.job.deleted_at is None]
    jobs = [late.job for late in reports]
    after, ended = job_writer.snapshots(connection, jobs), provider_cancel.cancels_ended(connection, jobs)
    changed = {call.call_id for call in settled}
    changes = []
    for late in reports:
        job, outcome = late.job, late.provider_cancel or ended.get(late.job.id)
        is_visible = after[job.id] != before[job.id]
        is_visible |= outcome is not None and job.provider_cancel not in (None, outcome)
        is_visible |= job.is_final and any(call.call_id in changed for call in late.report.calls)
        if is_visible:
            changes.append(transitions.settle(job, outcome=outcome, now=now))
    return changes
