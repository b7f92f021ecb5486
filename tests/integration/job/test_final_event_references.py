"""References to final events, and final events by key: what the notifier reads of jobs."""

from dataclasses import replace
from typing import Any

import grpc
import pytest
from calotype.job.v1 import job_pb2, job_service_pb2

from common.errors import ServiceError
from common.grpc_client import call
from services.job.application import final_events
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.facts import CallSettled
from services.job.domain.final_events import FinalEvent, FinalEventReference
from services.job.domain.jobs import ProviderCancel, Snapshot
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from tests.support.job_service.api import Api
from tests.support.job_service.use_cases import JobUseCases, failed, stored
from tests.support.patience import PATIENCE

CALLBACK = "https://receiver.example/done?order=7"


def references(desk: JobUseCases, token: str = "", *, size: int = 100) -> final_events.Page[FinalEventReference]:
    """One page of references."""
    return desk.run(lambda c: final_events.list_references(c, since=None, page_size=size, page_token=token))


def event(desk: JobUseCases, job_id: str, sequence: int) -> FinalEvent:
    """The event of that key."""
    [found] = desk.run(lambda c: final_events.get_by_key(c, [(job_id, sequence)]))
    return found


def canceled(desk: JobUseCases, **request: Any) -> Snapshot:
    """A job with a final event."""
    return desk.cancel(desk.create(**request).job.id)


def completed(desk: JobUseCases, **request: Any) -> Snapshot:
    """A job with an image."""
    job = desk.upload(**request)
    desk.apply(stored(job))
    return desk.get(job.id)


def of_type(desk: JobUseCases, type_: str) -> FinalEventReference:
    """The one event of a type."""
    [found] = [reference for reference in references(desk).events if reference.type == type_]
    return found


def test_a_reference_names_the_event_and_where_it_is_to_be_reported(desk: JobUseCases) -> None:
    job = canceled(desk, callback_url=CALLBACK).job
    other = canceled(desk, tenant="acme").job
    first, second = references(desk).events

    assert first == FinalEventReference(
        job_id=job.id,
        tenant="acme",
        sequence=job.sequence,
        type="job.canceled",
        occurred_at=job.updated_at,
        callback_url=CALLBACK,
    )
    assert (second.job_id, second.callback_url) == (other.id, None)


def test_a_token_of_either_list_continues_the_other(desk: JobUseCases) -> None:
    first, second = canceled(desk).job.id, canceled(desk).job.id
    page = references(desk, size=1)
    rest = desk.run(lambda c: final_events.list_snapshots(c, since=None, page_size=1, page_token=page.next_page_token))
    nothing = references(desk, rest.resume_token)
    third = canceled(desk).job.id

    assert [event.job_id for event in page.events] == [first]
    assert [snapshot.job.id for snapshot in rest.events] == [second]
    assert (list(nothing.events), nothing.next_page_token) == ([], "")
    assert [event.job_id for event in references(desk, nothing.resume_token).events] == [third]


def test_the_url_outlives_the_job_that_is_deleted_right_after_its_end(desk: JobUseCases) -> None:
    job = completed(desk, callback_url=CALLBACK, prompt="a secret", end_user="somebody", metadata={"a": "b"}).job
    desk.delete(job.id)
    [reference] = references(desk).events
    found = event(desk, job.id, reference.sequence)

    assert (reference.type, reference.callback_url) == ("job.completed", CALLBACK)
    assert found.reference == reference
    assert found.snapshot.job.state is State.COMPLETED
    assert (found.snapshot.job.request, found.snapshot.job.end_user) == (None, None)
    assert (found.snapshot.job.metadata, found.snapshot.artifacts) == ({}, ())


def test_the_url_of_an_event_without_one_of_its_own_is_that_of_the_request(desk: JobUseCases) -> None:
    job = canceled(desk, callback_url=CALLBACK).job
    # As an older job-service writes it.
    desk.sql("UPDATE job_events SET callback_url = NULL")

    assert references(desk).events[0].callback_url == CALLBACK
    assert event(desk, job.id, job.sequence).reference.callback_url == CALLBACK


def test_only_final_events_keep_the_url(desk: JobUseCases) -> None:
    completed(desk, callback_url=CALLBACK)
    kept = desk.sql("SELECT type, callback_url FROM job_events WHERE callback_url IS NOT NULL")

    assert [(row.type, row.callback_url) for row in kept] == [("job.completed", CALLBACK)]


def test_each_end_of_a_job_is_an_event_with_the_job_as_it_was_then(desk: JobUseCases) -> None:
    job, _ = desk.generate(callback_url=CALLBACK, prompt="a tower")
    desk.apply(failed(job, retryable=False))
    desk.retry(job.id)
    desk.cancel(job.id)
    first, second = references(desk).events
    ends = [event(desk, job.id, reference.sequence) for reference in (first, second)]

    assert [reference.type for reference in (first, second)] == ["job.failed", "job.canceled"]
    assert [reference.callback_url for reference in (first, second)] == [CALLBACK, CALLBACK]
    assert [end.snapshot.job.state for end in ends] == [State.FAILED, State.CANCELED]
    assert [end.snapshot.job.sequence for end in ends] == [first.sequence, second.sequence]
    assert [end.snapshot.job.request and end.snapshot.job.request.prompt for end in ends] == ["a tower", "a tower"]
    assert (ends[0].snapshot.job.failure is None, ends[1].snapshot.job.failure) == (False, None)


def test_a_settlement_of_a_canceled_job_is_an_event_of_its_own(desk: JobUseCases) -> None:
    job, made = desk.generate(provider="paid", callback_url=CALLBACK)
    desk.cancel(job.id)
    outcome = CallOutcome(call_id=made.id, phase=CallPhase.SUCCEEDED, cost_micros=7)
    desk.apply(CallSettled(job_id=job.id, outcome=outcome, provider_cancel=ProviderCancel.TOO_LATE))
    settled = of_type(desk, "job.settled")
    found = event(desk, job.id, settled.sequence)

    assert settled.callback_url == CALLBACK
    assert (found.snapshot.job.state, found.snapshot.cost.amount_micros) == (State.CANCELED, 7)


def test_a_settlement_of_a_job_that_goes_on_is_no_final_event(desk: JobUseCases) -> None:
    job = canceled(desk, callback_url=CALLBACK).job
    desk.sql(
        """INSERT INTO job_events (job_id, sequence, type, state, occurred_at, snapshot)
        SELECT job_id, sequence + 1, 'job.settled', 'queued', occurred_at, snapshot
        FROM job_events WHERE type = 'job.canceled'"""
    )

    assert [reference.sequence for reference in references(desk).events] == [job.sequence]
    assert desk.run(lambda c: final_events.get_by_key(c, [(job.id, job.sequence + 1)])) == []


def test_events_that_are_not_known_are_left_out(desk: JobUseCases) -> None:
    job = canceled(desk).job
    keys = [("job_none", 1), (job.id, job.sequence), (job.id, 1), (job.id, 99), (job.id, -(2**63))]
    found = desk.run(lambda c: final_events.get_by_key(c, keys))

    assert [(event.reference.job_id, event.reference.sequence) for event in found] == [(job.id, job.sequence)]


@pytest.mark.parametrize("keys", [[], [("job_x", 1)] * 2, [("job_x", number) for number in range(101)]])
def test_one_to_a_hundred_keys_are_each_named_once(desk: JobUseCases, keys: list[tuple[str, int]]) -> None:
    with pytest.raises(Refusal) as refused:
        desk.run(lambda c: final_events.get_by_key(c, keys))

    assert (refused.value.reason, [fault.field for fault in refused.value.violations]) == ("INVALID_INPUT", ["keys"])


async def test_the_api_returns_either_jobs_or_references(api: Api, desk: JobUseCases) -> None:
    job = canceled(desk, callback_url=CALLBACK).job
    canceled(desk)
    request = job_service_pb2.ListFinalEventsRequest(page_size=1, references_only=True)
    page = await call(api.jobs.ListFinalEvents, request, timeout=PATIENCE)
    request = job_service_pb2.ListFinalEventsRequest(page_size=1)
    jobs = await call(api.jobs.ListFinalEvents, request, timeout=PATIENCE)
    [reference] = page.events

    assert (reference.job_id, reference.callback_url, reference.type) == (job.id, CALLBACK, "job.canceled")
    assert reference.occurred_at.ToDatetime().isoformat() == job.updated_at.replace(tzinfo=None).isoformat()
    assert (len(page.jobs), len(jobs.jobs), len(jobs.events)) == (0, 1, 0)
    assert (page.next_page_token, page.resume_token) == (jobs.next_page_token, jobs.resume_token)


async def test_the_api_returns_the_job_as_it_would_by_itself(api: Api, desk: JobUseCases) -> None:
    job = completed(desk, callback_url=CALLBACK, metadata={"order": "7"}).job
    without = canceled(desk).job
    keys = [
        job_service_pb2.FinalEventKey(job_id=found.id, sequence=found.sequence)
        for found in (job, without, replace(job, id="job_none"))
    ]
    response = await call(api.jobs.GetFinalEvents, job_service_pb2.GetFinalEventsRequest(keys=keys), timeout=PATIENCE)
    by_id = {found.job.id: found for found in response.events}

    assert by_id.keys() == {job.id, without.id}
    assert by_id[job.id].job == await api.get(job.id)
    assert by_id[job.id].job.status == job_pb2.STATUS_COMPLETED
    assert (by_id[job.id].reference.callback_url, by_id[without.id].reference.callback_url) == (CALLBACK, "")


@pytest.mark.parametrize("job_id", ["", "job_\0"])
async def test_the_api_survives_keys_that_are_none(api: Api, job_id: str) -> None:
    request = job_service_pb2.GetFinalEventsRequest(keys=[job_service_pb2.FinalEventKey(job_id=job_id, sequence=1)])
    try:
        assert list((await call(api.jobs.GetFinalEvents, request, timeout=PATIENCE)).events) == []
    except ServiceError as error:
        assert (error.status, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
