"""The table `attempts`: one row per claim."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from common.sql import Connection, text
from services.job import counters
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Attempt, Fence
from services.job.store import rows

# The ids are a parameter of their own for the planner, which cannot estimate the number of rows in a JSON parameter.
END_ATTEMPTS = """
UPDATE attempts SET
    ended_at = clock_timestamp(), outcome = ended.outcome, failure = ended.failure, counted = ended.counted
FROM jsonb_to_recordset(CAST(:ends AS jsonb))
    AS ended (job_id text, claim_number integer, outcome text, failure jsonb, counted boolean)
WHERE attempts.job_id = ANY(:job_ids) AND attempts.job_id = ended.job_id
    AND attempts.claim_number = ended.claim_number AND attempts.ended_at IS NULL
"""


@dataclass(frozen=True, kw_only=True)
class End:
    """End of an attempt; the fields are those of `Attempt`."""

    #: Job of the attempt.
    job_id: str
    #: Claim of the attempt.
    claim_number: int
    #: `succeeded`, `failed`, `requeued`, `released`, `rescued` or `canceled`.
    outcome: str
    #: Why it did not succeed; None otherwise.
    failure: Failure | None = None
    #: Whether it counts in `Job.attempt_count`.
    counted: bool = True


def end(connection: Connection, ends: Sequence[End]) -> None:
    """Records the ends of attempts; an attempt that has ended stays as it is."""
    if ends:
        connection.defer(text(END_ATTEMPTS), end_parameters(ends))
    count_ends(connection, ends)


def end_parameters(ends: Sequence[End]) -> dict[str, Any]:
    """Returns the parameters of `END_ATTEMPTS`."""
    parameter = rows.as_parameter([rows.to_json(ended) for ended in ends])
    return {"ends": parameter, "job_ids": [ended.job_id for ended in ends]}


def count_ends(connection: Connection, ends: Sequence[End]) -> None:
    """Counts the ends of attempts once they are committed."""
    for ended in ends:
        counters.attempt_ended(connection, ended.outcome, ended.failure)


def by_tokens(connection: Connection, tokens: Collection[UUID]) -> list[Attempt]:
    """Returns the claims that were made with these lease tokens, including ended ones."""
    statement = text("SELECT * FROM attempts WHERE lease_token = ANY(CAST(:tokens AS uuid[]))")
    found = connection.execute(statement, {"tokens": [str(token) for token in tokens]}).mappings()
    return [rows.from_json(Attempt, dict(row)) for row in found]


def generators_claims(connection: Connection, fences: Collection[Fence]) -> set[Fence]:
    """Returns those fences that are generators' claims, current or past."""
    found = by_tokens(connection, [fence.lease_token for fence in fences]) if fences else []
    return {
        Fence(job_id=attempt.job_id, claim_number=attempt.claim_number, lease_token=attempt.lease_token)
        for attempt in found
        if attempt.stage is Stage.GENERATING
    }.intersection(fences)


def of_job(connection: Connection, job_id: str) -> list[Attempt]:
    """Returns every claim of a job, oldest first."""
    statement = text("SELECT * FROM attempts WHERE job_id = :job_id ORDER BY claim_number")
    return [rows.from_json(Attempt, dict(row)) for row in connection.execute(statement, {"job_id": job_id}).mappings()]
