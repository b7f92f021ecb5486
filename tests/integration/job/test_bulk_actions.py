"""Operators cancel and retry all jobs of a filter: each once, as its user could, whatever happens in between."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application import bulk_actions, bulk_pages
from services.job.domain.bulk_actions import (
    MAX_RUNNING,
    BulkAction,
    BulkActionKind,
    BulkActionRequest,
    BulkActionState,
    MatchCount,
    RefusedJobs,
)
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.job_filter import JobFilter
from services.job.domain.jobs import Job
from services.job.domain.providers import Model
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store import bulk_actions as store
from services.job.store.job_walk import MAX_EXAMINED
from tests.support.job_service.many_jobs import copy, rows_read
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, open_transaction

CANCEL, RETRY = BulkActionKind.CANCEL, BulkActionKind.RETRY


def request(kind: BulkActionKind, *, consents: bool = False, **filters: Any) -> BulkActionRequest:
    """What an operator requests."""
    return BulkActionRequest(kind=kind, filter=JobFilter(**filters), consents=consents)


def preview(desk: JobUseCases, kind: BulkActionKind, **filters: Any) -> MatchCount:
    """What matches now."""
    return desk.run(lambda c: bulk_actions.preview(c, request(kind, **filters)))


def create(desk: JobUseCases, kind: BulkActionKind, *, key: str = "", **wanted: Any) -> BulkAction:
    """Starts a bulk action."""
    made = request(kind, **wanted)
    return desk.run(lambda c: bulk_actions.create(c, made, by="ops/key:1", idempotency_key=key)).bulk_action


def step(desk: JobUseCases) -> bulk_pages.PageResult | None:
    """One page of the bulk action whose turn it is."""
    bulk_id = desk.run(bulk_pages.claim_next)
    return None if bulk_id is None else desk.run(lambda c: bulk_pages.work_page(c, bulk_id))


def finish(desk: JobUseCases, action: BulkAction) -> BulkAction:
    """All pages."""
    while step(desk) is not None:
        pass
    return desk.run(lambda c: bulk_actions.get(c, action.id))


def failed_job(desk: JobUseCases, *, phase: CallPhase = CallPhase.FAILED, tenant: str = "acme", **changes: Any) -> Job:
    """A failed job; its call ended in the phase."""
    job, call = desk.generate(tenant=tenant, provider="paid")
    known: dict[str, Any] = {"code": Code.AUTH_ERROR, "reason": Reason.PROVIDER_AUTH, "retryable": False, **changes}
    desk.apply(failed(job, calls=(CallOutcome(call_id=call.id, phase=phase),), **known))
    return desk.job(job.id)


def events(desk: JobUseCases, kind: str) -> list[str]:
    """Jobs of the events of a type that are also in the outbox."""
    found = desk.sql(
        "SELECT e.job_id FROM job_events AS e JOIN outbox AS o ON (o.job_id, o.sequence) = (e.job_id, e.sequence)"
        " WHERE e.type = :type",
        type=kind,
    )
    return sorted(row.job_id for row in found)


def test_a_cancel_does_what_its_preview_counted_and_nothing_else(desk: JobUseCases) -> None:
    others = [failed_job(desk).id, desk.create(tenant="other").job.id]
    desk.claim()
    running, _ = desk.generate()
    matched = {running.id, *(desk.create().job.id for _ in range(2 * bulk_pages.PAGE))}
    counted = preview(desk, CANCEL, tenant="acme")
    action = create(desk, CANCEL, tenant="acme")
    later = desk.create().job.id
    over = finish(desk, action)

    assert (counted.matched, counted.is_exact) == (len(matched), True)
    assert set(counted.sample) <= matched
    assert (action.state, action.matched, action.is_exact, action.done) == ("running", len(matched), True, 0)
    assert (over.state, over.done, over.skipped, over.refused) == ("finished", len(matched), 0, {})
    assert over.finished_at is not None
    assert {desk.job(job).state for job in matched} == {State.CANCELED}
    assert [desk.job(job).state for job in (*others, later)] == [State.FAILED, State.PROCESSING, State.QUEUED]
    assert events(desk, "job.canceled") == sorted(matched)
    assert preview(desk, CANCEL, tenant="acme", created_before=action.created_at).matched == 0


def test_a_retry_asks_for_consent_where_a_user_would_be_asked(desk: JobUseCases) -> None:
    clear, doubtful = failed_job(desk), failed_job(desk, phase=CallPhase.UNKNOWN)
    over = finish(desk, create(desk, RETRY, reason="PROVIDER_AUTH"))

    assert (over.done, over.refused) == (1, {"CONSENT_REQUIRED": RefusedJobs(count=1, job_id=doubtful.id)})
    assert [desk.job(job.id).state for job in (clear, doubtful)] == [State.QUEUED, State.FAILED]

    over = finish(desk, create(desk, RETRY, reason="PROVIDER_AUTH", consents=True))
    assert (over.done, over.refused) == (1, {})
    assert (desk.job(doubtful.id).user_consents, desk.job(clear.id).retry_count) == (True, 1)
    assert events(desk, "job.retried") == sorted([clear.id, doubtful.id])


def test_budgets_hold_for_retries_and_one_refusal_does_not_stop_the_rest(desk: JobUseCases) -> None:
    poor, rich = failed_job(desk, tenant="poor"), failed_job(desk, tenant="rich")
    desk.register(FREE, replace(PAID, models=(Model(name="flux", price_micros_per_image=40_000),)))
    desk.allow("poor", per_day=1)
    over = finish(desk, create(desk, RETRY, states=(State.FAILED,)))

    assert (over.done, list(over.refused)) == (1, ["BUDGET_EXHAUSTED"])
    assert [desk.job(job.id).state for job in (poor, rich)] == [State.FAILED, State.QUEUED]


def test_a_job_that_cannot_be_changed_by_a_defect_does_not_stop_the_rest(desk: JobUseCases) -> None:
    jobs = [failed_job(desk) for _ in range(3)]
    desk.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation; END $$")
    desk.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON job_events FOR EACH ROW"
        f" WHEN (NEW.job_id = '{jobs[1].id}') EXECUTE FUNCTION refuse()"
    )
    try:
        over = finish(desk, create(desk, RETRY, tenant="acme"))
    finally:
        desk.sql("DROP FUNCTION refuse CASCADE")

    assert (over.done, over.refused) == (2, {"INTERNAL": RefusedJobs(count=1, job_id=jobs[1].id)})
    assert [desk.job(job.id).state for job in jobs] == [State.QUEUED, State.FAILED, State.QUEUED]


def test_a_job_that_a_user_changes_meanwhile_is_skipped(desk: JobUseCases) -> None:
    retried, again, deleted = (failed_job(desk) for _ in range(3))
    action = create(desk, RETRY, tenant="acme")
    desk.retry(retried.id)
    desk.retry(again.id)
    [claimed] = [found for found in desk.claim(2) if found.job.id == again.id]
    desk.apply(failed(claimed.job, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH, retryable=False))
    desk.delete(deleted.id)
    over = finish(desk, action)

    assert desk.job(again.id).state is State.FAILED
    assert (action.matched, over.done, over.skipped) == (3, 0, 1)
    assert [desk.job(job.id).retry_count for job in (retried, again)] == [1, 1]


def test_a_job_that_ends_while_its_page_waits_for_it_is_skipped(desk: JobUseCases) -> None:
    ended, other = desk.create().job, desk.create().job
    action = create(desk, CANCEL, tenant="acme")
    with ThreadPoolExecutor(1) as threads:
        with open_transaction(desk, lambda c: desk.on(c).cancel(ended.id)):
            page = threads.submit(step, desk)
            desk.await_blocked()
        result = page.result()

    assert result is not None
    assert [job.id for job in result.changed] == [other.id]
    assert (result.bulk_action.done, result.bulk_action.skipped) == (1, 1)
    assert events(desk, "job.canceled") == sorted([ended.id, other.id])
    assert finish(desk, action).state is BulkActionState.FINISHED


def test_a_crash_in_the_middle_of_a_page_undoes_it_and_another_replica_goes_on(desk: JobUseCases) -> None:
    jobs = [desk.create().job.id for _ in range(bulk_pages.PAGE + 5)]
    action = create(desk, CANCEL, tenant="acme")
    bulk_id = desk.run(bulk_pages.claim_next)
    assert bulk_id == action.id

    def crash(connection: Any) -> None:
        assert bulk_pages.work_page(connection, action.id) is not None
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        desk.run(crash)
    assert {desk.job(job).state for job in jobs} == {State.QUEUED}
    assert desk.run(bulk_pages.claim_next) is None, "it was not held for a time"
    desk.sql("UPDATE bulk_actions SET due_at = clock_timestamp()")
    assert step(desk) is not None
    over = finish(desk, action)

    assert (over.done, over.skipped) == (len(jobs), 0)
    assert events(desk, "job.canceled") == sorted(jobs)


def test_replicas_that_work_at_once_change_each_job_once(desk: JobUseCases) -> None:
    jobs = [desk.create(tenant=f"t{number % 2}").job.id for number in range(4 * bulk_pages.PAGE)]
    actions = [create(desk, CANCEL, tenant=f"t{number}") for number in range(2)] + [create(desk, CANCEL, tenant="t0")]
    starting = threading.Barrier(4)

    def replica(action: BulkAction) -> None:
        starting.wait()
        # Without a claim: as two replicas do of which one was believed dead.
        while desk.run(lambda c: bulk_pages.work_page(c, action.id)) is not None:
            pass

    with ThreadPoolExecutor(4) as threads:
        for working in [threads.submit(replica, action) for action in (*actions, actions[0])]:
            working.result()
    over = [desk.run(partial(bulk_actions.get, bulk_id=action.id)) for action in actions]

    assert [action.state for action in over] == ["finished"] * 3
    assert sum(action.done for action in over) == len(jobs)
    assert events(desk, "job.canceled") == sorted(jobs)


def test_a_canceled_bulk_action_touches_no_further_job(desk: JobUseCases) -> None:
    jobs = [desk.create().job.id for _ in range(bulk_pages.PAGE + 5)]
    action = create(desk, CANCEL, tenant="acme")
    assert step(desk) is not None
    stopped = desk.run(lambda c: bulk_actions.stop(c, action.id))

    assert (stopped.state, stopped.done) == ("canceled", bulk_pages.PAGE)
    assert step(desk) is None
    assert desk.run(lambda c: bulk_pages.work_page(c, action.id)) is None
    assert len([job for job in jobs if desk.job(job).state is State.QUEUED]) == 5
    assert desk.run(lambda c: bulk_actions.stop(c, action.id)) == stopped


def test_bulk_actions_advance_in_turn(desk: JobUseCases) -> None:
    for number in range(2 * bulk_pages.PAGE + 2):
        desk.create(tenant=f"t{number % 2}")
    actions = [create(desk, CANCEL, tenant=f"t{number}") for number in range(2)]
    turns = [page.bulk_action.id for page in (step(desk), step(desk)) if page is not None]
    assert turns == [action.id for action in actions]


def test_a_key_starts_one_bulk_action(desk: JobUseCases) -> None:
    first = create(desk, CANCEL, tenant="acme", key="k")
    assert create(desk, CANCEL, tenant="acme", key="k").id == first.id
    with pytest.raises(Refusal) as refusal:
        create(desk, CANCEL, tenant="other", key="k")
    assert refusal.value.reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert [action.id for action in desk.run(bulk_actions.list_newest)] == [first.id]


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (request(CANCEL), ["filter"]),
        (request(CANCEL, tenant="acme", states=(State.FAILED,)), ["filter.statuses"]),
        (request(RETRY, tenant="acme", states=(State.QUEUED, State.FAILED)), ["filter.statuses"]),
        (request(CANCEL, reason="PROVIDER_AUTH"), ["filter.reason"]),
        (request(CANCEL, tenant="acme", consents=True), ["on_ambiguous"]),
        (request(RETRY, end_user="e" * 129), ["filter.end_user"]),
    ],
)
def test_requests_without_a_sense_are_refused(desk: JobUseCases, wanted: BulkActionRequest, fields: list[str]) -> None:
    for act in (bulk_actions.preview, partial(bulk_actions.create, by="ops")):
        with pytest.raises(Refusal) as refusal:
            desk.run(partial(act, request=wanted))
        assert [violation.field for violation in refusal.value.violations] == fields


def test_the_number_at_a_time_is_bounded(desk: JobUseCases) -> None:
    for _ in range(MAX_RUNNING):
        create(desk, CANCEL, tenant="acme")
    with pytest.raises(Refusal, match="are running"):
        create(desk, CANCEL, tenant="acme")
    while step(desk) is not None:
        pass
    assert create(desk, CANCEL, tenant="acme").state is BulkActionState.RUNNING


def test_only_what_is_over_is_forgotten(desk: JobUseCases) -> None:
    over = create(desk, CANCEL, tenant="acme")
    while step(desk) is not None:
        pass
    create(desk, CANCEL, tenant="acme")
    desk.sql("UPDATE bulk_actions SET created_at = created_at - interval '2 days'")

    assert desk.run(partial(store.forget, seconds=86_400, limit=100)) == 1
    with pytest.raises(Refusal, match=over.id):
        desk.run(lambda c: bulk_actions.get(c, over.id))


@pytest.fixture
def full(desk: JobUseCases) -> JobUseCases:
    """Many jobs of others and of a tenant."""
    queued = desk.create(tenant="other").job.id
    copy(desk, queued, 12_000, name="acme_", changes='{"tenant": "acme"}')
    copy(desk, queued, 12_000, name="other_")
    desk.sql("ANALYZE jobs")
    return desk


def test_the_cost_of_a_page_and_of_a_preview_does_not_grow_with_the_jobs(full: JobUseCases) -> None:
    wanted = request(CANCEL, tenant="acme")
    counted = preview(full, CANCEL, tenant="acme")
    read, created = rows_read(full, partial(bulk_actions.create, request=wanted, by="ops"))
    assert (counted.is_exact, len(counted.sample)) == (False, bulk_actions.SAMPLE)
    assert counted.matched == created.bulk_action.matched <= bulk_actions.MAX_SEARCHES * MAX_EXAMINED
    assert read < bulk_actions.MAX_SEARCHES * (2 * MAX_EXAMINED + 100)

    before = full.sql("SELECT now() AS moment")[0].moment - timedelta(hours=3)
    action = create(full, CANCEL, tenant="acme", created_before=before)
    for _ in range(20):
        read, page = rows_read(full, partial(bulk_pages.work_page, bulk_id=action.id))
        assert page is not None
        assert read < 2 * MAX_EXAMINED + 60 * bulk_pages.PAGE
        assert page.bulk_action.state is BulkActionState.RUNNING
