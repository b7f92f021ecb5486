"""What the generator asks job-service, over real gRPC: nothing is lost in translation, in either direction."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from calotype.artifact.v1 import artifact_pb2
from calotype.error_reasons import Reason
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, worker_service_pb2_grpc
from calotype.job.v1 import worker_service_pb2 as worker

from common.emptying import Folder
from common.errors import ServiceError
from common.grpc_client import channel
from common.grpc_server import GrpcService, serve
from common.health import Readiness
from common.leased_work import Renewal
from services.generator.adapters.grpc_job_service import GrpcJobService
from services.generator.adapters.nats_facts import image_artifact
from services.generator.domain.jobs import CallPhase, InputImage, Route
from services.generator.domain.provider_results import CancelOutcome, Operation
from services.generator.domain.settlements import CallOutcome, Settlement, WorkerReport
from tests.support.generator.fakes import call_of, job_of, staged

LEASE = worker.Lease(job_id="job_1", claim_number=1, lease_token="token")
KNOWN = WorkerReport(
    calls=(CallOutcome(call_id="call_1", phase=CallPhase.NOT_SENT, token=b"of call_1"),), images=(staged(0),)
)
SETTLED = [fact_pb2.CallOutcome(call_id="call_1", phase=job_pb2.CALL_PHASE_NOT_SENT, call_token=b"of call_1")]
TOKEN = b"token of the call"
STAGED = [image_artifact(staged(0))]
CALL = job_pb2.ProviderCall(
    id="call_1",
    job_id="job_1",
    provider="paid",
    model="m",
    phase=job_pb2.CALL_PHASE_ACCEPTED,
    image_indexes=[0, 2],
    idempotency_key="key",
    operation_id="op",
    operation_state={"get": "http://x"},
)
Answer = Callable[[Any], Any]


class WorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """Answers each method as the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[Any] = []

    def _answer(self, method: str, request: Any) -> Any:
        self.asked.append(request)
        answers = self.answers[method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def GetJobInput(self, request: worker.GetJobInputRequest, context: Any) -> AsyncIterator[Any]:
        """In chunks."""
        for chunk in self._answer("GetJobInput", request):
            yield worker.GetJobInputResponse(chunk=chunk)


def _unary(method: str) -> Any:
    async def ask(self: WorkerService, request: Any, context: Any) -> Any:
        return self._answer(method, request)

    return ask


for _method in worker.DESCRIPTOR.services_by_name["WorkerService"].methods_by_name:
    if _method != "GetJobInput":
        setattr(WorkerService, _method, _unary(_method))


@pytest.fixture
def service() -> WorkerService:
    """job-service, played."""
    return WorkerService()  # type: ignore[abstract]  # its methods are made above


@pytest.fixture
async def desk(service: WorkerService) -> AsyncIterator[GrpcJobService]:
    """The desk in front of it."""
    served = GrpcService(
        name="calotype.job.v1.WorkerService",
        add=worker_service_pb2_grpc.add_WorkerServiceServicer_to_server,
        servicer=service,
    )
    async with (
        serve("127.0.0.1:0", [served], ready=Readiness(), grace_seconds=0) as port,
        channel(f"127.0.0.1:{port}") as opened,
    ):
        yield GrpcJobService(opened, worker_name="generator/host/1", providers=["paid", "drawn"])


def away() -> ServiceError:
    """A server that cannot answer now."""
    return ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="away")


def claimed(request: job_pb2.JobRequest) -> worker.ClaimedJob:
    """A job with something of everything."""
    image = artifact_pb2.ImageArtifact(
        index=2,
        staged=artifact_pb2.StagedObject(name="job_1/call_1/2", call_id="call_1"),
        content_type="image/webp",
        width=4,
        height=3,
        size_bytes=12,
        sha256="ab",
        blurhash="L",
        seed=0,
        revised_prompt="ein Hafen, größer",
        provenance=artifact_pb2.Provenance(c2pa=True),
    )
    return worker.ClaimedJob(
        lease=LEASE,
        lease_seconds=30,
        job=job_pb2.Job(tenant="acme", provider="paid", model="m", image_count=3, request=request),
        calls=[CALL],
        images=[image],
        traceparent="00-1-2-01",
        max_processing_seconds=60,
        max_generating_seconds=600,
        may_pay_again=True,
        routes=[worker.Route(provider="paid", model="m"), worker.Route(provider="spare", model="s")],
    )


async def test_a_claim_names_the_worker_its_tokens_and_what_it_can_call(
    service: WorkerService, desk: GrpcJobService
) -> None:
    service.answers["ClaimJobs"] = [worker.ClaimJobsResponse()]

    assert await desk.claim(["a", "b"]) == []
    assert service.asked == [
        worker.ClaimJobsRequest(worker="generator/host/1", lease_tokens=["a", "b"], providers=["paid", "drawn"])
    ]


async def test_a_claimed_job_is_what_job_service_tells(service: WorkerService, desk: GrpcJobService) -> None:
    service.answers["ClaimJobs"] = [worker.ClaimJobsResponse(jobs=[claimed(job_pb2.JobRequest(prompt="x"))])]
    [(token, job)] = await desk.claim(["token"])

    assert (token, job.id, job.claim_number, job.lease_token, job.lease_seconds) == ("token", "job_1", 1, "token", 30)
    assert (job.tenant, job.image_count) == ("acme", 3)
    assert job.routes == (Route(provider="paid", model="m"), Route(provider="spare", model="s"))
    assert (job.max_processing_seconds, job.max_seconds) == (60, 600)
    assert (job.traceparent, job.may_pay_again) == ("00-1-2-01", True)
    [call], [image] = job.calls, job.images
    assert (call.id, call.phase, call.image_indexes, call.idempotency_key) == (
        "call_1",
        CallPhase.ACCEPTED,
        (0, 2),
        "key",
    )
    assert (call.operation_id, call.operation_state) == ("op", {"get": "http://x"})
    assert (image.name, image.call_id, image.seed, image.revised_prompt, image.c2pa) == (
        "job_1/call_1/2",
        "call_1",
        0,
        "ein Hafen, größer",
        True,
    )
    assert job.missing(job.images) == [0, 1]


async def test_a_job_service_that_does_not_tell_a_shorter_limit_has_none(
    service: WorkerService, desk: GrpcJobService
) -> None:
    told = claimed(job_pb2.JobRequest(prompt="x"))
    told.ClearField("max_processing_seconds")
    service.answers["ClaimJobs"] = [worker.ClaimJobsResponse(jobs=[told])]
    [(_, job)] = await desk.claim(["token"])

    assert (job.max_processing_seconds, job.max_seconds) == (600, 600)


async def test_what_a_request_leaves_out_is_nothing_and_not_empty(service: WorkerService, desk: GrpcJobService) -> None:
    service.answers["ClaimJobs"] = [worker.ClaimJobsResponse(jobs=[claimed(job_pb2.JobRequest(prompt="x"))])]
    [(_, job)] = await desk.claim(["token"])
    request = job.request

    assert (request.negative_prompt, request.size, request.aspect_ratio, request.seed) == (None, None, None, None)
    assert (request.quality, request.output_format, request.inputs, request.options) == (None, None, (), {})
    assert (request.background, request.output_compression) == (None, None)
    assert (request.moderation, request.input_fidelity) == (None, None)


async def test_a_request_keeps_its_inputs_mask_seed_and_options(service: WorkerService, desk: GrpcJobService) -> None:
    told = job_pb2.JobRequest(prompt="x", seed=0, size="64x64", negative_prompt="", output_compression=0)
    told.background, told.moderation, told.input_fidelity = "transparent", "low", "high"
    told.input_images.add(url="http://pictures.example/a.png")
    told.input_images.add(content_type="image/png")
    told.mask.content_type = "image/png"
    told.provider_options.update({"steps": 4, "style": {"name": "ink"}})
    service.answers["ClaimJobs"] = [worker.ClaimJobsResponse(jobs=[claimed(told)])]
    [(_, job)] = await desk.claim(["token"])

    assert (job.request.seed, job.request.size, job.request.negative_prompt) == (0, "64x64", "")
    assert (job.request.background, job.request.output_compression) == ("transparent", 0)
    assert (job.request.moderation, job.request.input_fidelity) == ("low", "high")
    assert job.request.options == {"steps": 4, "style": {"name": "ink"}}
    assert job.request.inputs == (
        InputImage(index=0, url="http://pictures.example/a.png", content_type=""),
        InputImage(index=1, url=None, content_type="image/png"),
        InputImage(index=-1, url=None, content_type="image/png"),
    )


async def test_every_phase_of_the_ledger_is_understood(service: WorkerService, desk: GrpcJobService) -> None:
    told = claimed(job_pb2.JobRequest(prompt="x"))
    del told.calls[:]
    phases = [value for value in job_pb2.CallPhase.values() if value]
    told.calls.extend(job_pb2.ProviderCall(id="c", phase=value) for value in phases)
    service.answers["ClaimJobs"] = [worker.ClaimJobsResponse(jobs=[told])]
    [(_, job)] = await desk.claim(["token"])

    assert {call.phase for call in job.calls} == set(CallPhase)


async def test_a_call_is_written_down_under_one_id_however_often_it_is_asked(
    service: WorkerService, desk: GrpcJobService
) -> None:
    service.answers["BeginProviderCall"] = [away(), worker.BeginProviderCallResponse(call=CALL, call_token=TOKEN)]
    call = await desk.begin_call(
        job_of(), call_id="call_1", provider="paid", model="m", indexes=[0, 2], digest="d", report=KNOWN
    )

    assert (call.id, call.idempotency_key, call.token) == ("call_1", "key", TOKEN)
    assert len(service.asked) == 2
    assert service.asked[0] == service.asked[1]
    assert service.asked[0] == worker.BeginProviderCallRequest(
        lease=LEASE,
        provider="paid",
        model="m",
        image_indexes=[0, 2],
        request_digest="d",
        call_id="call_1",
        settled=SETTLED,
        staged=STAGED,
        shows_call_tokens=True,
    )


async def test_a_call_that_is_sent_again_names_the_earlier_one_alone(
    service: WorkerService, desk: GrpcJobService
) -> None:
    service.answers["BeginProviderCall"] = [worker.BeginProviderCallResponse(call=CALL, call_token=TOKEN)]
    again = await desk.resend_call(job_of(), call_of(CallPhase.INTENDED), report=KNOWN)

    asked = worker.BeginProviderCallRequest(
        lease=LEASE, resend_call_id="call_old", settled=SETTLED, staged=STAGED, shows_call_tokens=True
    )
    assert service.asked == [asked]
    assert again.token == TOKEN


@pytest.mark.parametrize("reason", [Reason.LEASE_LOST, Reason.CONSENT_REQUIRED, Reason.ALREADY_BOUGHT])
async def test_a_refusal_keeps_its_reason_and_is_not_asked_again(
    service: WorkerService, desk: GrpcJobService, reason: Reason
) -> None:
    refusal = ServiceError(status=grpc.StatusCode.FAILED_PRECONDITION, reason=reason, message="no")
    service.answers["BeginProviderCall"] = [refusal]
    with pytest.raises(ServiceError) as refused:
        await desk.begin_call(
            job_of(), call_id="c", provider="paid", model="m", indexes=[0], digest="d", report=WorkerReport()
        )

    assert (refused.value.reason, len(service.asked)) == (reason, 1)


async def test_an_operation_is_noted_by_its_call_alone_and_asked_once(
    service: WorkerService, desk: GrpcJobService
) -> None:
    service.answers["RecordOperation"] = [away()]
    begun = replace(call_of(CallPhase.INTENDED), token=TOKEN)
    with pytest.raises(ServiceError):
        await desk.record_operation(begun, Operation(id="op", state={"get": "u"}))

    assert service.asked == [
        worker.RecordOperationRequest(
            call_id="call_old", operation_id="op", operation_state={"get": "u"}, call_token=TOKEN
        )
    ]


async def test_every_lease_is_asked_about_in_one_call(service: WorkerService, desk: GrpcJobService) -> None:
    outcomes = {
        "a": worker.Renewal.OUTCOME_RENEWED,
        "b": worker.Renewal.OUTCOME_LOST,
        "c": worker.Renewal.OUTCOME_CANCELED,
    }
    told = [worker.Renewal(lease_token=token, outcome=outcome) for token, outcome in outcomes.items()]
    service.answers["RenewLeases"] = [worker.RenewLeasesResponse(renewals=told)]
    found = await desk.renew([job_of(lease_token=token) for token in outcomes])

    assert found == {"a": Renewal.RENEWED, "b": Renewal.LOST, "c": Renewal.CANCELED}
    assert [lease.lease_token for lease in service.asked[0].leases] == ["a", "b", "c"]


async def test_an_input_is_read_in_chunks_and_an_interrupted_one_is_an_error(
    service: WorkerService, desk: GrpcJobService
) -> None:
    service.answers["GetJobInput"] = [[b"pic", b"ture"], away()]

    assert b"".join([chunk async for chunk in desk.read_input(job_of(), -1)]) == b"picture"
    assert service.asked == [worker.GetJobInputRequest(lease=LEASE, index=-1)]
    with pytest.raises(ServiceError):
        [chunk async for chunk in desk.read_input(job_of(), 0)]


async def test_a_job_is_handed_back_with_all_that_is_known(service: WorkerService, desk: GrpcJobService) -> None:
    service.answers["ReleaseJob"] = [away(), worker.ReleaseJobResponse()]
    await desk.release(job_of(), report=KNOWN)

    assert service.asked == [worker.ReleaseJobRequest(lease=LEASE, settled=SETTLED, staged=STAGED)] * 2


async def test_an_operation_is_said_to_be_followed(service: WorkerService, desk: GrpcJobService) -> None:
    service.answers["BeginProviderCall"] = [away(), worker.BeginProviderCallResponse(call=CALL, call_token=TOKEN)]
    earlier = call_of(CallPhase.ACCEPTED, operation="op")
    followed = await desk.follow_call(job_of(), earlier, report=KNOWN)

    asked = worker.BeginProviderCallRequest(
        lease=LEASE, follow_call_id="call_old", settled=SETTLED, staged=STAGED, shows_call_tokens=True
    )
    assert service.asked == [asked] * 2
    assert followed == replace(earlier, token=TOKEN)


async def test_settlements_are_claimed_and_renewed_by_their_own_tokens(
    service: WorkerService, desk: GrpcJobService
) -> None:
    told = worker.Settlement(
        call=CALL, call_token=TOKEN, lease_token="s", cancel=True, traceparent="00-1-2-01", seconds_left=9
    )
    service.answers["ClaimSettlements"] = [worker.ClaimSettlementsResponse(settlements=[told])]
    lost = worker.Renewal(lease_token="s", outcome=worker.Renewal.OUTCOME_LOST)
    service.answers["RenewLeases"] = [worker.RenewLeasesResponse(settlement_renewals=[lost])]
    [(token, settlement)] = await desk.claim_settlements(["s"])

    assert isinstance(settlement, Settlement)
    assert (token, settlement.job_id, settlement.call.operation_id, settlement.cancel) == ("s", "job_1", "op", True)
    assert (settlement.seconds_left, settlement.cancel_outcome, settlement.call.token) == (9, None, TOKEN)
    assert await desk.renew_settlements([settlement]) == {"s": Renewal.LOST}
    assert (list(service.asked[1].settlement_tokens), list(service.asked[1].leases)) == (["s"], [])


@pytest.mark.parametrize("answer", [None, *CancelOutcome])
async def test_a_call_that_has_not_ended_is_given_back_with_what_was_said_to_a_cancel(
    service: WorkerService, desk: GrpcJobService, answer: CancelOutcome | None
) -> None:
    said = job_pb2.ProviderCancel.Value(f"PROVIDER_CANCEL_{answer.name if answer else 'UNSPECIFIED'}")
    told = worker.Settlement(call=CALL, lease_token="s", cancel=True, provider_cancel=said)
    service.answers["ClaimSettlements"] = [worker.ClaimSettlementsResponse(settlements=[told])]
    service.answers["PostponeSettlement"] = [worker.PostponeSettlementResponse()]
    [(_, settlement)] = await desk.claim_settlements(["s"])
    await desk.postpone_settlement(settlement, cancel_outcome=answer, shortest_pause=1.5)

    assert settlement.cancel_outcome is answer
    assert (service.asked[1].lease_token, service.asked[1].provider_cancel) == ("s", said)
    assert service.asked[1].shortest_pause_seconds == 1.5


async def test_only_folders_in_staging_are_asked_for_and_those_that_were_emptied_are_told(
    service: WorkerService, desk: GrpcJobService
) -> None:
    told = worker.Deletion(id="del_1", prefix="job_1/", lease_token="t")
    service.answers["ClaimDeletions"] = [worker.ClaimDeletionsResponse(deletions=[told])]
    emptied = Folder(id="del_0", prefix="job_0/", lease_token="s")

    assert await desk.claim_deletions(["t"], emptied=[emptied]) == [
        Folder(id="del_1", prefix="job_1/", lease_token="t")
    ]
    assert service.asked[0].bucket == worker.BUCKET_STAGING
    assert [(one.id, one.lease_token) for one in service.asked[0].emptied] == [("del_0", "s")]
