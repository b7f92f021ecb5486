"""Planted bugs in what is asked of providers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.chaos.stores import Stores
from tests.chaos.tuning import AT_ONCE, PER_MINUTE

AN_HOUR = 3600.0
A_JOB_OF = """
SELECT jobs.id FROM jobs
WHERE state = 'completed' AND deleted_at IS NULL AND provider = %(provider)s AND retry_count = 0
    AND (SELECT count(*) FROM provider_calls AS call WHERE call.job_id = jobs.id) = 1
    AND EXISTS (SELECT FROM provider_calls AS call WHERE call.job_id = jobs.id AND phase = 'succeeded'
        AND call.provider = jobs.provider AND consent = 'none' AND (accepted_at IS NOT NULL OR operation_id IS NULL))
ORDER BY id LIMIT 1
"""
COPY_CALLS = """
INSERT INTO provider_calls SELECT (jsonb_populate_record(call, jsonb_build_object(
    'id', 'call_' || number, 'idempotency_key', 'call_' || number, 'consent', %(consent)s::text,
    'operation_id', CASE WHEN operation_id IS NOT NULL THEN 'op-copy-' || number END
))).* FROM provider_calls AS call CROSS JOIN generate_series(1, %(times)s) AS number WHERE job_id = %(id)s
"""
FAIL = """
UPDATE jobs SET state = 'failed', failure_stage = 'generating', failure_code = 'UNKNOWN', failure_reason = %(reason)s,
    failure_message = 'It failed.', failure_retryable = true
WHERE id = %(id)s
"""


def _job_of(stores: Stores, provider: str) -> str:
    return str(stores.one(A_JOB_OF, provider=provider))


def _buy_again(stores: Stores, job_id: str, *, times: int, consent: str) -> None:
    stores.sql(COPY_CALLS, id=job_id, times=times, consent=consent)
    count = stores.one("SELECT cardinality(image_indexes) FROM provider_calls WHERE job_id = %(id)s", id=job_id)
    for number in range(1, times + 1):
        stores.book(prompt=stores.prompts[job_id], id=f"op-copy-{number}", fate="good", count=count)


def _rebook(stores: Stores, job_id: str, **changes: Any) -> None:
    """Change what the provider wrote down of a job's purchases; of its cancels nothing is left."""

    def change(line: Any) -> Any:
        if line["prompt"] != stores.prompts[job_id]:
            return line
        return None if line["event"] == "cancel" else line | changes

    stores.rewrite_books(change)


def _turn_away(stores: Stores, job_id: str, fate: str, phase: str) -> None:
    """As if the provider had said no."""
    _rebook(stores, job_id, fate=fate)
    stores.sql("UPDATE provider_calls SET phase = %(phase)s WHERE job_id = %(id)s", id=job_id, phase=phase)


def _give_places_back_too_early(stores: Stores) -> None:
    """Nothing ends at the provider, and everything has begun all the same."""
    stores.sql("UPDATE provider_calls SET timeout_seconds = 3600 WHERE provider = 'sync'")
    stores.rewrite_books(lambda line: line | {"time": line["time"] + AN_HOUR} if line["event"] == "end" else line)
    bought = stores.one("SELECT count(*) FROM provider_calls WHERE provider = 'sync' AND phase = 'succeeded'")
    assert bought > AT_ONCE


def _call_too_often(stores: Stores) -> None:
    _buy_again(stores, _job_of(stores, "sync"), times=PER_MINUTE, consent="none")


def _use_a_consent_twice(stores: Stores) -> None:
    job_id = _job_of(stores, "sync")
    stores.promise(job_id, consents=1)
    stores.sql("DROP INDEX an_image_is_bought_once")
    _buy_again(stores, job_id, times=2, consent="user")


def _use_a_consent_that_nobody_gave(stores: Stores) -> None:
    job_id = _job_of(stores, "async")
    stores.promise(job_id, may_pay_again=False)
    stores.sql("UPDATE provider_calls SET consent = 'job' WHERE job_id = %(id)s", id=job_id)


def _forget_what_was_sold(stores: Stores) -> None:
    stores.sql("UPDATE provider_calls SET phase = 'not_sent' WHERE job_id = %(id)s", id=_job_of(stores, "sync"))


def _call_a_sale_a_refusal(stores: Stores) -> None:
    stores.sql("UPDATE provider_calls SET phase = 'refused' WHERE job_id = %(id)s", id=_job_of(stores, "async"))


def _ask_nobody_else(stores: Stores) -> None:
    job_id = _job_of(stores, "sync")
    stores.promise(job_id, fallback=["async"], finish_within=None)
    stores.sql("DELETE FROM chaos_breakers")
    _turn_away(stores, job_id, "rate_limit", "not_sent")


def _ask_nobody_else_after_a_refusal(stores: Stores) -> None:
    job_id = _job_of(stores, "sync")
    stores.promise(job_id, fallback=["async"], falls_back_on_refusal=True, finish_within=None)
    stores.sql("DELETE FROM chaos_breakers")
    _turn_away(stores, job_id, "refused", "refused")


def _tell_another_reason(stores: Stores) -> None:
    job_id = _job_of(stores, "sync")
    _turn_away(stores, job_id, "refused", "refused")
    stores.sql(FAIL, id=job_id, reason="SERVICE_UNAVAILABLE")
    stores.sql(
        """UPDATE attempts SET outcome = 'failed', ended_at = completed_at FROM jobs
        WHERE job_id = jobs.id AND jobs.id = %(id)s AND stage = 'generating'""",
        id=job_id,
    )


def _fail_by_a_defect(stores: Stores) -> None:
    stores.sql(FAIL, id=_job_of(stores, "sync"), reason="INTERNAL")


def _begin_after_the_deadline(stores: Stores) -> None:
    job_id = _job_of(stores, "sync")
    stores.promise(job_id, finish_within=1)
    stores.sql("UPDATE provider_calls SET created_at = created_at + interval '1 hour' WHERE job_id = %(id)s", id=job_id)


def _end_long_after_the_deadline(stores: Stores) -> None:
    job_id = _job_of(stores, "async")
    stores.promise(job_id, finish_within=1)
    stores.sql("UPDATE jobs SET completed_at = completed_at + interval '1 hour' WHERE id = %(id)s", id=job_id)


def _throw_away_what_was_paid_for(stores: Stores) -> None:
    job_id = _job_of(stores, "async")
    stores.promise(job_id, finish_within=1)
    stores.sql(FAIL, id=job_id, reason="DEADLINE_EXCEEDED")


def _leave_a_canceled_operation_to_itself(stores: Stores) -> None:
    job_id = _job_of(stores, "async")
    stores.observe(struck=())
    accepted_at = stores.one("SELECT accepted_at FROM provider_calls WHERE job_id = %(id)s", id=job_id)
    _rebook(stores, job_id, done_at=accepted_at.timestamp() + AN_HOUR)
    stores.sql(
        """INSERT INTO job_events SELECT job_id, sequence + 1, 'job.canceled', 'canceled', %(at)s, snapshot
        FROM job_events WHERE job_id = %(id)s AND type = 'job.completed'""",
        id=job_id,
        at=accepted_at,
    )


#: By the rule that must see them.
BUGS: Mapping[str, Sequence[Callable[[Stores], None]]] = {
    "limits_hold_at_the_provider": (_give_places_back_too_early, _call_too_often),
    "a_consent_serves_one_purchase": (_use_a_consent_twice, _use_a_consent_that_nobody_gave),
    "what_was_not_sold_was_not_delivered": (_forget_what_was_sold, _call_a_sale_a_refusal),
    "fallbacks_are_asked": (_ask_nobody_else, _ask_nobody_else_after_a_refusal),
    "failures_are_the_providers_own": (_tell_another_reason, _fail_by_a_defect),
    "deadlines_are_kept": (
        _begin_after_the_deadline,
        _end_long_after_the_deadline,
        _throw_away_what_was_paid_for,
    ),
    "canceled_operations_are_stopped": (_leave_a_canceled_operation_to_itself,),
}
