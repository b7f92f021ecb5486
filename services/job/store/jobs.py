"""The table `jobs`: locks, queries, and the one guarded update by which a job changes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from calotype.error_reasons import Code, Reason

from common.sql import Connection, Row, text
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job, JobWarning, Lease, ProviderCancel
from services.job.domain.requests import JobRequest
from services.job.domain.states import State
from services.job.domain.transitions import Change
from services.job.store import rows

#: Columns that a transition may change; the others stay as they were submitted.
MUTABLE = (
    "state", "sequence", "claim_number", "attempt_count", "retry_count", "failure_counts",
    "user_consents", "consented_at", "locked_by", "locked_at", "lease_token", "lease_expires_at",
    "run_at", "start_by", "finish_by", "queued_at", "queued_seconds", "deferral", "generating_since", "uploading_since",
    "failure_stage", "failure_code", "failure_reason", "failure_message", "failure_retryable",
    "failure_retry_after_seconds", "provider_cancel", "warnings", "updated_at", "started_at", "completed_at",
)  # fmt: skip

# Returns the ids of the jobs that still had the state and sequence that were decided upon. The ids are a parameter of
# their own for the planner, which cannot estimate the number of rows in a JSON parameter.
CHANGE_JOBS = f"""
UPDATE jobs SET {", ".join(f"{column} = new.{column}" for column in MUTABLE)}
FROM jsonb_populate_recordset(NULL::jobs, CAST(:rows AS jsonb)) AS new
JOIN jsonb_to_recordset(CAST(:guards AS jsonb)) AS guard (id text, state text, sequence bigint) ON guard.id = new.id
WHERE jobs.id = ANY(:ids) AND jobs.id = new.id AND jobs.state = guard.state AND jobs.sequence = guard.sequence
RETURNING jobs.id
"""  # noqa: S608

# The time is read for each row once it is locked.
_LOCK = """
WITH locked AS MATERIALIZED (SELECT * FROM jobs WHERE id = ANY(:ids) ORDER BY id FOR UPDATE{skip})
SELECT locked.*, clock_timestamp() AS now FROM locked
"""
LOCK_IN_ORDER, LOCK_FREE_IN_ORDER = _LOCK.format(skip=""), _LOCK.format(skip=" SKIP LOCKED")


class LockedJobs(NamedTuple):
    """Jobs that the transaction has locked."""

    #: The jobs by id; those that do not exist are missing.
    jobs: dict[str, Job]
    #: The database's time after they were locked.
    now: datetime


def lock(connection: Connection, ids: Collection[str]) -> LockedJobs:
    """Locks jobs in the order of their ids, as every transaction does; returns those that exist, and the current time.

    Read calls, artifacts and other tables in later statements: a statement that waited for the lock sees them as they
    were before it waited.
    """
    return _lock(connection, LOCK_IN_ORDER, ids)


def lock_free(connection: Connection, ids: Collection[str]) -> LockedJobs:
    """Locks jobs without waiting: those that another transaction has locked are left out, as if they did not exist."""
    return _lock(connection, LOCK_FREE_IN_ORDER, ids)


def _lock(connection: Connection, statement: str, ids: Collection[str]) -> LockedJobs:
    found = connection.execute(text(statement), {"ids": sorted(set(ids))}).mappings().all()
    now = found[-1]["now"] if found else clock(connection)
    return LockedJobs({row["id"]: from_row(row) for row in found}, now)


def existing(connection: Connection, ids: Collection[str]) -> set[str]:
    """Returns those of the ids that a job has."""
    statement = text("SELECT id FROM jobs WHERE id = ANY(:ids)")
    return set(connection.execute(statement, {"ids": sorted(ids)}).scalars()) if ids else set()


def lock_job(connection: Connection, job_id: str) -> tuple[Job | None, datetime]:
    """Locks one job; returns it, None if it does not exist, and the current time."""
    jobs, now = lock(connection, [job_id])
    return jobs.get(job_id), now


def use_repeatable_read(connection: Connection) -> None:
    """Makes all statements of a read-only transaction see one moment (REPEATABLE READ); must be its first statement."""
    connection.defer(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def get(connection: Connection, job_id: str) -> Job | None:
    """Returns one job, unlocked; None if it does not exist."""
    row = connection.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id}).mappings().first()
    return from_row(row) if row else None


def get_many(connection: Connection, ids: Collection[str]) -> list[Job]:
    """Returns existing jobs, unlocked, in the order of the ids."""
    found = connection.execute(text("SELECT * FROM jobs WHERE id = ANY(:ids)"), {"ids": list(ids)}).mappings()
    by_id = {row["id"]: from_row(row) for row in found}
    return [by_id[job_id] for job_id in ids if job_id in by_id]


def clock(connection: Connection) -> datetime:
    """Returns the database's current time, which is later than the start of the transaction."""
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def change_parameters(changes: Sequence[Change]) -> dict[str, Any]:
    """Returns the parameters of `CHANGE_JOBS` for transitions of locked jobs, at most one per job."""
    before = [change.before for change in changes]
    return {
        "ids": [job.id for job in before],
        "rows": rows.as_parameter([to_row(change.after) for change in changes]),
        "guards": rows.as_parameter([{"id": job.id, "state": job.state, "sequence": job.sequence} for job in before]),
    }


def to_row(job: Job) -> dict[str, Any]:
    """Returns the columns of a job's row."""
    failure, lease = job.failure, job.lease
    plain = {name: getattr(job, name) for name in _PLAIN}
    return plain | {
        "request": None if job.request is None else rows.to_json(job.request),
        "fallback": list(job.fallback),
        "deferral": None if job.deferral is None else rows.to_json(job.deferral),
        "metadata": dict(job.metadata),
        "failure_counts": dict(job.failure_counts),
        "warnings": [rows.to_json(warning) for warning in job.warnings],
        "locked_by": lease.worker if lease else None,
        "locked_at": lease.locked_at if lease else None,
        "lease_token": lease.token if lease else None,
        "lease_expires_at": lease.expires_at if lease else None,
        "failure_stage": failure.stage if failure else None,
        "failure_code": failure.code if failure else None,
        "failure_reason": failure.reason if failure else None,
        "failure_message": failure.message if failure else None,
        "failure_retryable": failure.retryable if failure else None,
        "failure_retry_after_seconds": failure.retry_after_seconds if failure else None,
    }


def from_row(row: Row) -> Job:
    """Returns the job of a row."""
    plain = {name: row[name] for name in _PLAIN}
    cancel = row["provider_cancel"]
    plain |= {"state": State(row["state"]), "provider_cancel": ProviderCancel(cancel) if cancel else None}
    return Job(
        **plain,
        request=None if row["request"] is None else rows.from_json(JobRequest, row["request"]),
        fallback=tuple(row["fallback"]),
        deferral=None if row["deferral"] is None else rows.from_json(Failure, row["deferral"]),
        metadata=row["metadata"],
        failure_counts=row["failure_counts"],
        warnings=tuple(rows.from_json(JobWarning, warning) for warning in row["warnings"]),
        lease=_lease(row),
        failure=_failure(row),
    )


_PLAIN = (
    "id", "tenant", "state", "sequence", "priority", "provider", "model", "image_count", "end_user", "traceparent",
    "claim_number", "attempt_count", "retry_count", "user_consents", "consented_at", "run_at", "start_by",
    "finish_by", "queued_at", "queued_seconds", "generating_since", "uploading_since", "provider_cancel",
    "created_at", "updated_at", "started_at", "completed_at", "deleted_at",
)  # fmt: skip


def _lease(row: Row) -> Lease | None:
    if row["lease_token"] is None:
        return None
    return Lease(
        worker=row["locked_by"],
        token=row["lease_token"],
        locked_at=row["locked_at"],
        expires_at=row["lease_expires_at"],
    )


def _failure(row: Row) -> Failure | None:
    if row["failure_stage"] is None:
        return None
    return Failure(
        stage=Stage(row["failure_stage"]),
        code=Code(row["failure_code"]),
        reason=Reason(row["failure_reason"]),
        message=row["failure_message"],
        retryable=row["failure_retryable"],
        retry_after_seconds=row["failure_retry_after_seconds"],
    )
