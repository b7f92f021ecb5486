"""job-service as its callers see it: over real gRPC, on a real database and a real broker."""

from typing import Any
from uuid import uuid4

import grpc
import pytest
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2, job_service_pb2, worker_service_pb2
from calotype.size_limits import INPUT_CHUNK_BYTES
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from common.errors import DOMAIN
from common.grpc_client import call, stream
from services.job.application.provider_calls import record_operation
from services.job.domain.states import State
from tests.support.job_service.api import Api, refusal_of
from tests.support.job_service.use_cases import JobUseCases, failed, generated, stored
from tests.support.patience import PATIENCE


async def test_a_created_job_is_answered_as_it_was_written(api: Api) -> None:
    answer = await api.create(n=2, metadata={"k": "v"}, end_user="u1", seed=7, priority=job_pb2.PRIORITY_HIGH)
    job = await api.get(answer.job.id)

    assert (job.status, job.sequence, job.provider, job.queue_position) == (job_pb2.STATUS_QUEUED, 1, "procedural", 1)
    assert (job.request.n, job.request.seed, dict(job.metadata), job.end_user) == (2, 7, {"k": "v"}, "u1")
    assert job.request.priority == job_pb2.PRIORITY_HIGH
    assert not answer.replayed


async def test_a_replayed_key_says_so_and_gives_the_same_job(api: Api) -> None:
    first, again = [await api.create(key="k") for _ in range(2)]

    assert (first.replayed, again.replayed) == (False, True)
    assert first.job.id == again.job.id


REFUSED: dict[str, tuple[Any, grpc.StatusCode, str]] = {
    "no such job": (
        lambda api: call(
            api.jobs.GetJob, job_service_pb2.GetJobRequest(tenant="acme", job_id="job_x"), timeout=PATIENCE
        ),
        grpc.StatusCode.NOT_FOUND,
        "JOB_NOT_FOUND",
    ),
    "a job id that cannot be": (
        lambda api: call(
            api.jobs.GetJob, job_service_pb2.GetJobRequest(tenant="acme", job_id="job_\x00"), timeout=PATIENCE
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_INPUT",
    ),
    "a prompt that cannot be stored": (
        lambda api: api.create("a\x00b"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_INPUT",
    ),
    "too many images": (lambda api: api.create(n=11), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    "no such provider": (
        lambda api: api.create(provider="x"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "PROVIDER_NOT_FOUND",
    ),
    "a key that is none": (lambda api: api.create(key="ä"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    "a token of nobody": (
        lambda api: api.page(page_token="x"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_INPUT",
    ),
    "a status that there is not": (
        lambda api: api.page(statuses=[99]),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_INPUT",
    ),
    "a page of less than nothing": (
        lambda api: api.page(page_size=-1),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_INPUT",
    ),
    "final events by less than nothing": (
        lambda api: call(
            api.jobs.ListFinalEvents, job_service_pb2.ListFinalEventsRequest(page_size=-5), timeout=PATIENCE
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_INPUT",
    ),
    "a lease token that is none": (
        lambda api: api.claim("x"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_INPUT",
    ),
    "a call of nobody": (
        lambda api: call(
            api.work.RecordOperation,
            worker_service_pb2.RecordOperationRequest(call_id="call_x", operation_id="op"),
            timeout=PATIENCE,
        ),
        grpc.StatusCode.NOT_FOUND,
        "CALL_NOT_FOUND",
    ),
    "a call under a lost lease": (
        lambda api: call(
            api.work.BeginProviderCall,
            worker_service_pb2.BeginProviderCallRequest(
                lease=worker_service_pb2.Lease(job_id="job_x", claim_number=1, lease_token=str(uuid4())),
                call_id=f"call_{uuid4().hex}",
                image_indexes=[0],
            ),
            timeout=PATIENCE,
        ),
        grpc.StatusCode.ABORTED,
        "LEASE_LOST",
    ),
}


@pytest.mark.parametrize(("ask", "status", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_no_has_its_status_and_its_reason(api: Api, ask: Any, status: grpc.StatusCode, reason: str) -> None:
    refusal = await refusal_of(ask(api))

    assert (refusal.status, refusal.reason) == (status, reason)
    assert refusal.message


async def test_a_no_carries_exactly_one_error_info_and_names_its_fields(api: Api) -> None:
    request = job_service_pb2.CreateJobRequest(tenant="acme", request=job_pb2.JobRequest(prompt="x", n=11, seed=-1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.jobs.CreateJob(request)
    status = rpc_status.from_call(refused.value)
    assert status is not None
    infos, fields = [], []
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            infos.append((info.domain, info.reason))
        elif detail.Unpack(bad):
            fields += [one.field for one in bad.field_violations]

    assert infos == [(DOMAIN, "INVALID_INPUT")]
    assert sorted(fields) == ["n", "seed"]


async def test_a_wrong_state_is_a_failed_precondition(api: Api, desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    refusal = await refusal_of(
        call(api.jobs.CancelJob, job_service_pb2.CancelJobRequest(tenant="acme", job_id=job.id), timeout=PATIENCE)
    )

    assert (refusal.status, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


async def test_before_any_generator_came_the_asker_is_told_when_to_come_again(api: Api, desk: JobUseCases) -> None:
    desk.sql("DELETE FROM providers")
    refusal = await refusal_of(api.create())

    assert (refusal.status, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    assert refusal.retry_after_seconds == 2


async def test_a_failed_job_tells_its_failure_and_whether_a_retry_may_charge_again(api: Api, desk: JobUseCases) -> None:
    job, _ = desk.generate(provider="paid")
    desk.apply(failed(job, retryable=False, message="It said no."))
    seen = await api.get(job.id)

    assert (seen.failure.stage, seen.failure.code) == (error_pb2.STAGE_GENERATING, error_pb2.CODE_TEMPORARY)
    assert (seen.failure.message, seen.retry_needs_consent) == ("It said no.", False)


async def test_public_addresses_are_under_the_public_base(api: Api, desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    [artifact] = (await api.get(job.id)).artifacts

    assert artifact.url == f"http://pictures.test/bucket/jobs/{job.id}/0-0000000000000000.png"
    assert artifact.image.WhichOneof("source") is None


async def test_pages_stay_right_while_jobs_arrive(api: Api, desk: JobUseCases) -> None:
    ids = [desk.create().job.id for _ in range(5)]
    first = await api.page(page_size=2)
    desk.create()
    second = await api.page(page_size=2, page_token=first.next_page_token)
    desk.create()
    third = await api.page(page_size=2, page_token=second.next_page_token)

    assert [job.id for page in (first, second, third) for job in page.jobs] == ids[::-1]
    assert third.next_page_token == ""


async def test_a_page_token_serves_its_own_filters_only(api: Api, desk: JobUseCases) -> None:
    for _ in range(3):
        desk.create()
    token = (await api.page(page_size=1)).next_page_token
    refusal = await refusal_of(api.page(page_size=1, page_token=token, provider="paid"))

    assert refusal.reason == "INVALID_INPUT"
    assert "page_token" in refusal.message


async def test_filters_hold_together(api: Api, desk: JobUseCases) -> None:
    wanted = desk.create(provider="paid", end_user="u1", metadata={"a": "1", "b": "2"}).job
    desk.create(provider="paid", end_user="u2", metadata={"a": "1"})
    desk.create(end_user="u1", metadata={"a": "1"})
    desk.create(tenant="other", provider="paid", end_user="u1", metadata={"a": "1"})
    found = await api.page(statuses=[job_pb2.STATUS_QUEUED], provider="paid", end_user="u1", metadata={"a": "1"})

    assert [job.id for job in found.jobs] == [wanted.id]
    assert list((await api.page(statuses=[job_pb2.STATUS_FAILED])).jobs) == []


async def test_final_events_are_listed_once_each_over_pages(api: Api, desk: JobUseCases) -> None:
    ids = [desk.cancel(desk.create(tenant=tenant).job.id, tenant=tenant).job.id for tenant in ("acme", "other", "x")]
    desk.create()
    found, token = [], ""
    while True:
        request = job_service_pb2.ListFinalEventsRequest(page_size=2, page_token=token)
        page = await call(api.jobs.ListFinalEvents, request, timeout=PATIENCE)
        found += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break

    assert found == ids


async def test_attempts_tell_their_calls(api: Api, desk: JobUseCases) -> None:
    job, made = desk.generate(provider="paid")
    desk.apply(generated(job, made, cost=5))
    desk.claim_uploads()
    answer = await call(
        api.jobs.ListAttempts, job_service_pb2.ListAttemptsRequest(tenant="acme", job_id=job.id), timeout=PATIENCE
    )
    generating, uploading = answer.attempts

    assert (generating.outcome, uploading.outcome) == ("succeeded", "")
    assert [(one.id, one.phase, one.cost_micros) for one in generating.provider_calls] == [
        (made.id, job_pb2.CALL_PHASE_SUCCEEDED, 5)
    ]
    assert list(uploading.provider_calls) == []


async def test_a_worker_goes_its_way_over_the_wire(api: Api, desk: JobUseCases) -> None:
    created = await api.create(provider="paid", n=2)
    [claimed] = await api.claim()
    begin = worker_service_pb2.BeginProviderCallRequest(
        lease=claimed.lease,
        provider="paid",
        model="flux",
        image_indexes=[0, 1],
        request_digest="0" * 64,
        call_id=f"call_{uuid4().hex}",
    )
    first, again = [(await call(api.work.BeginProviderCall, begin, timeout=PATIENCE)).call for _ in range(2)]
    accepted = worker_service_pb2.RecordOperationRequest(
        call_id=first.id, operation_id="op", operation_state={"u": "1"}
    )
    for _ in range(2):
        await call(api.work.RecordOperation, accepted, timeout=PATIENCE)
    await call(api.work.ReleaseJob, worker_service_pb2.ReleaseJobRequest(lease=claimed.lease), timeout=PATIENCE)
    [next_claim] = await api.claim()
    [left] = next_claim.calls

    assert claimed.job.request.prompt == "a harbour"
    assert first.id == again.id
    assert (left.phase, left.operation_id, dict(left.operation_state)) == (
        job_pb2.CALL_PHASE_ACCEPTED,
        "op",
        {"u": "1"},
    )
    assert desk.job(created.job.id).state is State.PROCESSING


async def test_a_worker_is_told_every_limit_by_which_its_claim_is_ended(api: Api, desk: JobUseCases) -> None:
    job_id = (await api.create(finish_within_seconds=3600)).job.id
    [claimed] = await api.claim()
    told = (claimed.lease_seconds, claimed.max_processing_seconds, claimed.max_generating_seconds)

    assert claimed.lease.job_id == job_id
    assert told == (desk.limits.lease_seconds, desk.limits.max_processing_seconds, desk.limits.max_generating_seconds)
    assert 3000 < claimed.finish_seconds_left <= 3600


async def test_an_input_image_comes_whole_to_its_holder_and_to_nobody_else(api: Api, desk: JobUseCases) -> None:
    able = worker_service_pb2.RegisterProvidersRequest(worker="w")
    able.providers.add(name="edit", kind="fake", default_model="m", capabilities={"max_input_images": 1})
    await call(api.work.RegisterProviders, able, timeout=PATIENCE)
    data = bytes(range(256)) * (INPUT_CHUNK_BYTES // 128)
    image = job_pb2.InputImage(data=data, content_type="image/png")
    await api.create(provider="edit", input_images=[image])
    request = worker_service_pb2.ClaimJobsRequest(worker="w", lease_tokens=[str(uuid4())], providers=["edit"])
    [claimed] = (await call(api.work.ClaimJobs, request, timeout=PATIENCE)).jobs
    ask = worker_service_pb2.GetJobInputRequest(lease=claimed.lease, index=0)
    chunks = [part.chunk async for part in stream(api.work.GetJobInput, ask)]
    ask.lease.lease_token = str(uuid4())
    refusal = await refusal_of(anext(stream(api.work.GetJobInput, ask)))

    assert (b"".join(chunks), len(chunks)) == (data, 2)
    assert refusal.reason == "LEASE_LOST"
    assert claimed.job.request.input_images[0].data == b""


async def test_renewals_are_answered_per_lease(api: Api, desk: JobUseCases) -> None:
    jobs = [(await api.create()).job.id for _ in range(2)]
    claimed = await api.claim(str(uuid4()), str(uuid4()))
    desk.cancel(jobs[0])
    stranger = worker_service_pb2.Lease(job_id=jobs[1], claim_number=9, lease_token=str(uuid4()))
    request = worker_service_pb2.RenewLeasesRequest(worker="w", leases=[one.lease for one in claimed] + [stranger])
    answer = await call(api.work.RenewLeases, request, timeout=PATIENCE)
    outcomes = {one.lease_token: one.outcome for one in answer.renewals}
    canceled, kept = sorted(claimed, key=lambda one: jobs.index(one.lease.job_id))

    assert outcomes[canceled.lease.lease_token] == worker_service_pb2.Renewal.OUTCOME_CANCELED
    assert outcomes[kept.lease.lease_token] == worker_service_pb2.Renewal.OUTCOME_RENEWED
    assert outcomes[stranger.lease_token] == worker_service_pb2.Renewal.OUTCOME_LOST


async def test_an_open_call_is_given_out_and_taken_back_until_its_next_look(api: Api, desk: JobUseCases) -> None:
    _, begun = desk.generate(provider="paid")
    desk.run(lambda c: record_operation(c, begun.id, operation_id="op", state={}))
    desk.cancel(begun.job_id)

    async def claim() -> list[worker_service_pb2.Settlement]:
        request = worker_service_pb2.ClaimSettlementsRequest(
            worker="w", lease_tokens=[str(uuid4())], providers=["paid"]
        )
        return list((await call(api.work.ClaimSettlements, request, timeout=PATIENCE)).settlements)

    [first] = await claim()
    said = job_pb2.PROVIDER_CANCEL_TOO_LATE
    request = worker_service_pb2.PostponeSettlementRequest(
        worker="w", lease_token=first.lease_token, provider_cancel=said, shortest_pause_seconds=60
    )
    for _ in range(2):
        await call(api.work.PostponeSettlement, request, timeout=PATIENCE)
    meanwhile = await claim()
    desk.sql("UPDATE provider_calls SET next_look_at = clock_timestamp()")
    [second] = await claim()

    assert (first.call.id, first.cancel, first.provider_cancel) == (begun.id, True, job_pb2.PROVIDER_CANCEL_UNSPECIFIED)
    assert meanwhile == []
    assert (second.call.id, second.cancel, second.provider_cancel) == (begun.id, True, said)
