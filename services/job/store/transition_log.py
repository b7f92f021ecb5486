"""Log lines of job transitions: one per transition, written once it is committed."""

import logging
from collections.abc import Sequence
from typing import Any

from common.logs import event
from common.tracing import trace_id
from services.job.domain.jobs import Job
from services.job.domain.states import Transition
from services.job.domain.transitions import Change

_LOG = logging.getLogger(__name__)


def write(changes: Sequence[Change]) -> None:
    """Logs transitions; `duration_seconds` of each is the time since the job's transition before."""
    for change in changes:
        before, after = change.before, change.after
        fields = _fields(after, change.transition, came_from=before.state)
        fields["duration_seconds"] = _seconds(before, after)
        # A settled call leaves a final job as it is: its failure is an old one.
        failure = change.cause or (after.failure if change.transition is Transition.FAIL else None)
        if failure is not None:
            fields |= {"stage": failure.stage, "code": failure.code, "reason": failure.reason}
        if after.lease is not None and before.lease != after.lease:
            fields["worker"] = after.lease.worker
        if after.is_final and not before.is_final:
            fields["total_seconds"] = round((after.updated_at - after.created_at).total_seconds(), 3)
        event(_LOG, logging.INFO, "job.changed", **fields)


def write_new(job: Job) -> None:
    """Logs a new job."""
    event(_LOG, logging.INFO, "job.changed", **_fields(job, Transition.SUBMIT, came_from=None))


def write_deleted(job_id: str, *, reason: str) -> None:
    """Logs that a job was deleted, by its user or at the end of its retention."""
    event(_LOG, logging.INFO, "job.deleted", job_id=job_id, reason=reason)


def _fields(job: Job, transition: Transition, *, came_from: str | None) -> dict[str, Any]:
    fields = {
        "job_id": job.id,
        "tenant": job.tenant,
        "transition": transition,
        "from": came_from,
        "to": job.state,
        "sequence": job.sequence,
        "attempt": job.attempt_count,
        "claim_number": job.claim_number,
        "provider": job.provider,
        "model": job.model,
    }
    trace = trace_id(job.traceparent)
    return fields | ({"trace_id": trace} if trace else {})


def _seconds(before: Job, after: Job) -> float:
    return round(max((after.updated_at - before.updated_at).total_seconds(), 0.0), 3)
