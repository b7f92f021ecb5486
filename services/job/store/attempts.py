"""The table `attempts`: one row per claim."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Attempt, Fence
from services.job.store import rows

END_ATTEMPTS = """
UPDATE attempts SET
    ended_at = clock_timestamp(), outcome = told.outcome, failure = told.failure, counted = told.counted
FROM jsonb_to_recordset(CAST(:ends AS jsonb))
    AS told (job_id text, claim_number integer, outcome text, failure jsonb, counted boolean)
WHERE attempts.job_id = told.job_id AND attempts.claim_number = told.claim_number AND attempts.ended_at IS NULL
"""


@dataclass(frozen=True, kw_only=True)
class End:
    """How an attempt ended: `succeeded`, `failed`, `requeued`, `released`, `rescued` or `canceled`."""

    job_id: str
    claim_number: int
    outcome: str
    failure: Failure | None = None
    counted: bool = True


def add(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Write down claims. A lease token that was used before is refused (`a_lease_token_serves_one_claim`)."""
    rows.insert(connection, "attempts", [rows.to_json(attempt) for attempt in attempts])


def end(connection: Connection, ends: Sequence[End]) -> None:
    """Write down how attempts ended; an attempt ends once."""
    if ends:
        connection.execute(text(END_ATTEMPTS), {"ends": rows.as_parameter([rows.to_json(one) for one in ends])})


def by_tokens(connection: Connection, tokens: Collection[UUID]) -> list[Attempt]:
    """Claims that were made with these tokens, ended ones too."""
    statement = text("SELECT * FROM attempts WHERE lease_token = ANY(CAST(:tokens AS uuid[]))")
    found = connection.execute(statement, {"tokens": [str(token) for token in tokens]}).mappings()
    return [rows.from_json(Attempt, dict(row)) for row in found]


def generators_claims(connection: Connection, fences: Collection[Fence]) -> set[Fence]:
    """Those of the fences that generators' claims have, or had."""
    made = by_tokens(connection, [fence.lease_token for fence in fences]) if fences else []
    return {
        Fence(job_id=one.job_id, claim_number=one.claim_number, lease_token=one.lease_token)
        for one in made
        if one.stage is Stage.GENERATING
    }.intersection(fences)


def of_job(connection: Connection, job_id: str) -> list[Attempt]:
    """Every claim of a job, oldest first."""
    statement = text("SELECT * FROM attempts WHERE job_id = :job_id ORDER BY claim_number")
    return [rows.from_json(Attempt, dict(row)) for row in connection.execute(statement, {"job_id": job_id}).mappings()]
