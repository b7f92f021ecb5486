"""The ledger: `provider_calls` and the images that each call covers."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from common.sql import Connection, Row, text
from services.job import counters
from services.job.domain.calls import CallOutcome, CallPhase, Consent, ProviderCall, VendorError
from services.job.domain.proofs import CallRecord
from services.job.store import rows

CALLS_OF_JOBS = """
SELECT * FROM provider_calls WHERE job_id = ANY(:job_ids) ORDER BY created_at, id
"""

CALLS_OF_JOBS_AND_IDS = """
SELECT * FROM provider_calls WHERE job_id = ANY(:job_ids) OR id = ANY(:ids) ORDER BY created_at, id
"""

# One statement: the foreign key between the tables is checked at its end.
ADD_CALLS = """
WITH call AS (
    INSERT INTO provider_calls SELECT * FROM jsonb_populate_recordset(NULL::provider_calls, CAST(:calls AS jsonb))
)
INSERT INTO provider_call_images
SELECT * FROM jsonb_populate_recordset(NULL::provider_call_images, CAST(:covered AS jsonb))
"""

# An open call accepts any report, an unknown one accepts a certain end, and a certain end stays: see
# `domain.calls.accepts_outcome`.
SETTLE_CALLS = """
UPDATE provider_calls AS call SET
    phase = outcome.phase,
    operation_id = coalesce(outcome.operation_id, call.operation_id),
    cost_micros = coalesce(outcome.cost_micros, call.cost_micros),
    provider_error = coalesce(outcome.provider_error, call.provider_error),
    occupied_until = CASE WHEN outcome.keeps_slot
        THEN coalesce(call.occupied_until, call.created_at + make_interval(secs => call.timeout_seconds)) END,
    settled_at = clock_timestamp(),
    settle_expires_at = NULL
FROM jsonb_to_recordset(CAST(:outcomes AS jsonb)) AS outcome
    (call_id text, phase text, operation_id text, cost_micros bigint, provider_error jsonb, keeps_slot boolean)
WHERE call.id = outcome.call_id
    AND (call.phase IN ('intended', 'accepted') OR (call.phase = 'unknown' AND outcome.phase <> 'unknown'))
RETURNING call.id AS call_id, call.provider, call.model, call.phase, call.cost_micros,
    call.billed_to, call.billed_on, call.reserved_micros,
    EXISTS (SELECT FROM breakers WHERE (breakers.provider, breakers.model) = (call.provider, call.model))
        AS has_breaker,
    EXISTS (SELECT FROM providers
        WHERE providers.name = call.provider AND CAST(description ->> 'max_concurrency' AS numeric) > 0) AS is_limited
"""

CALL_RECORDS = """
SELECT id, job_id, claim_number, settle_token,
    token_required IS TRUE OR created_at < clock_timestamp() - make_interval(secs => :seconds) AS token_required
FROM provider_calls WHERE id = ANY(:ids)
"""

REQUIRE_TOKENS = """
UPDATE provider_calls SET token_required = :required WHERE id = :id AND token_required IS DISTINCT FROM :required
"""

ACCEPT_CALL = """
UPDATE provider_calls SET
    phase = 'accepted', operation_id = :operation_id, operation_state = CAST(:state AS jsonb),
    accepted_at = clock_timestamp()
WHERE id = :id AND phase = 'intended'
"""

# A call that was settled before its acceptance was reported still gets its operation id.
NAME_OPERATION = """
UPDATE provider_calls SET operation_id = :operation_id, operation_state = CAST(:state AS jsonb)
WHERE id = :id AND operation_id IS NULL
"""

# A repeated request of one claim is recorded once.
RESEND = """
UPDATE provider_calls SET claim_number = :claim,
    occupied_until = clock_timestamp() + make_interval(secs => timeout_seconds)
WHERE id = :id AND phase = 'intended'
"""

NOTE_RESEND = """
INSERT INTO resends (call_id, claim_number, provider, sent_at)
SELECT id, claim_number, provider, clock_timestamp() FROM provider_calls WHERE id = :id
ON CONFLICT DO NOTHING
"""

LIFT_COVER = """
UPDATE provider_call_images SET lifted = true
WHERE call_id = ANY(:call_ids) AND image_index = ANY(:indexes)
"""


#: Age in seconds after which every call requires its token: a worker of a version without tokens has given it up.
LONGEST_WITHOUT_TOKEN = 25 * 3600.0


@dataclass(frozen=True, kw_only=True)
class SettledCall:
    """A call that has just ended; most fields are those of `ProviderCall`."""

    #: Id of the call.
    call_id: str
    #: Name of the provider.
    provider: str
    #: Model that was called.
    model: str
    #: How it ended.
    phase: CallPhase
    #: Reported cost; None when unknown.
    cost_micros: int | None
    #: Tenant whose budget it counts against; None for none.
    billed_to: str | None
    #: Day on which it counts; None for none.
    billed_on: date | None
    #: Reserved amount; None for none.
    reserved_micros: int | None
    #: Whether its route has a circuit breaker with failures.
    has_breaker: bool
    #: Whether its provider has a concurrency limit, so that its end may free a slot.
    is_limited: bool


def of_jobs(connection: Connection, job_ids: Collection[str]) -> dict[str, list[ProviderCall]]:
    """Returns the calls of the jobs by job id, oldest first."""
    found: dict[str, list[ProviderCall]] = defaultdict(list)
    for row in connection.execute(text(CALLS_OF_JOBS), {"job_ids": list(job_ids)}).mappings() if job_ids else ():
        found[row["job_id"]].append(_from_row(row))
    return found


def of_jobs_and_ids(connection: Connection, job_ids: Collection[str], ids: Collection[str]) -> list[ProviderCall]:
    """Returns the calls of the jobs and those with these ids, oldest first."""
    parameters = {"job_ids": sorted(job_ids), "ids": sorted(ids)}
    return [_from_row(row) for row in connection.execute(text(CALLS_OF_JOBS_AND_IDS), parameters).mappings()]


def get(connection: Connection, call_id: str) -> ProviderCall | None:
    """Returns one call; None if it does not exist."""
    statement = text("SELECT * FROM provider_calls WHERE id = :id")
    row = connection.execute(statement, {"id": call_id}).mappings().first()
    return _from_row(row) if row else None


def records(connection: Connection, ids: Collection[str]) -> dict[str, CallRecord]:
    """Returns the existing calls' data for `domain.proofs`, by call id, whichever job they belong to."""
    if not ids:
        return {}
    parameters = {"ids": list(ids), "seconds": LONGEST_WITHOUT_TOKEN}
    return {
        row.pop("id"): CallRecord(**row)
        for row in map(dict, connection.execute(text(CALL_RECORDS), parameters).mappings())
    }


def set_token_required(connection: Connection, call_id: str, *, is_required: bool) -> None:
    """Records whether facts about a call must carry its token, which they do if its current worker sends tokens."""
    connection.defer(text(REQUIRE_TOKENS), {"id": call_id, "required": is_required})


def lift(connection: Connection, call_ids: Collection[str], indexes: Collection[int]) -> None:
    """Lets these images be bought again although earlier calls may have bought them, as consent allows."""
    if call_ids:
        connection.defer(text(LIFT_COVER), {"call_ids": list(call_ids), "indexes": list(indexes)})


def add(connection: Connection, new: Sequence[ProviderCall]) -> None:
    """Inserts calls.

    The constraint `an_image_is_bought_once` refuses a call for an image that another call may have bought.
    """
    if not new:
        return
    covered = [
        {"call_id": call.id, "job_id": call.job_id, "image_index": index, "phase": call.phase, "lifted": False}
        for call in new
        for index in call.image_indexes
    ]
    inserted = rows.as_parameter([rows.to_json(call) for call in new])
    connection.defer(text(ADD_CALLS), {"calls": inserted, "covered": rows.as_parameter(covered)})
    for call in new:
        counters.call_begun(connection, call.provider, call.model)


def resend(connection: Connection, call_id: str, *, claim_number: int) -> None:
    """Records that a later claim sends an open call again with its own key: one more call of its provider."""
    parameters = {"id": call_id, "claim": claim_number}
    connection.defer(text(RESEND), parameters)
    connection.defer(text(NOTE_RESEND), parameters)


def accept(connection: Connection, call_id: str, *, operation_id: str, state: Mapping[str, str]) -> bool:
    """Records the provider's operation id of a call in phase INTENDED; returns whether it was in that phase."""
    parameters = {"id": call_id, "operation_id": operation_id, "state": rows.as_json(dict(state))}
    return connection.execute(text(ACCEPT_CALL), parameters).rowcount > 0


def name_operation(connection: Connection, call_id: str, *, operation_id: str, state: Mapping[str, str]) -> None:
    """Records the provider's operation id of a call that has none, in any phase."""
    parameters = {"id": call_id, "operation_id": operation_id, "state": rows.as_json(dict(state))}
    connection.defer(text(NAME_OPERATION), parameters)


def settle(connection: Connection, outcomes: Sequence[CallOutcome]) -> list[SettledCall]:
    """Records the ends of calls; returns those that changed. Late and repeated reports change nothing."""
    if not outcomes:
        return []
    parameter = rows.as_parameter([rows.to_json(outcome) | {"keeps_slot": outcome.keeps_slot} for outcome in outcomes])
    found = connection.execute(text(SETTLE_CALLS), {"outcomes": parameter}).mappings()
    settled = [SettledCall(**{**row, "phase": CallPhase(row["phase"])}) for row in found]
    for call in settled:
        counters.call_settled(
            connection, provider=call.provider, model=call.model, phase=call.phase, cost_micros=call.cost_micros
        )
    return settled


def _from_row(row: Row) -> ProviderCall:
    error = row["provider_error"]
    known: dict[str, Any] = {name: row[name] for name in _PLAIN}
    created: datetime = row["created_at"]
    return ProviderCall(
        **known,
        phase=CallPhase(row["phase"]),
        consent=Consent(row["consent"]),
        image_indexes=tuple(row["image_indexes"]),
        provider_error=rows.from_json(VendorError, error) if error else None,
        resumable=bool(row["resumable"]),
        token_required=bool(row["token_required"]),
        created_at=created,
    )


_PLAIN = (
    "id", "job_id", "claim_number", "provider", "model", "idempotency_key", "request_digest", "operation_id",
    "operation_state", "cost_micros", "timeout_seconds", "accepted_at", "settled_at", "billed_to", "billed_on",
    "reserved_micros",
)  # fmt: skip
