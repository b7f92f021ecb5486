"""JobDesk over `calotype.job.v1.WorkerService`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import grpc
from calotype.artifact.v1 import artifact_pb2
from calotype.job.v1 import job_pb2, worker_service_pb2_grpc
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.provider.v1 import provider_pb2

from common import structs
from common.emptying import Folder
from common.grpc_client import call, stream
from common.health import Readiness
from common.leased_work import Renewal
from common.sweeping import NamePage
from services.generator.adapters.nats_facts import call_outcome, image_artifact
from services.generator.domain.jobs import Call, InputImage, Job, Phase, Request, Route, StagedImage
from services.generator.domain.provider_results import CancelOutcome, Operation
from services.generator.domain.settlements import Known, Settlement

TIMEOUT_SECONDS = 5.0
#: The provider has accepted already: what job-service cannot take at once is told as a fact.
RECORD_TIMEOUT_SECONDS = 1.0
MASK = -1
RENEWALS = {
    worker.Renewal.OUTCOME_RENEWED: Renewal.RENEWED,
    worker.Renewal.OUTCOME_LOST: Renewal.LOST,
    worker.Renewal.OUTCOME_CANCELED: Renewal.CANCELED,
}
CANCEL_ANSWERS = {
    job_pb2.PROVIDER_CANCEL_CONFIRMED: CancelOutcome.CONFIRMED,
    job_pb2.PROVIDER_CANCEL_UNSUPPORTED: CancelOutcome.UNSUPPORTED,
    job_pb2.PROVIDER_CANCEL_TOO_LATE: CancelOutcome.TOO_LATE,
}


class GrpcJobService:
    """Asks job-service; `providers` are the names that this process can call."""

    def __init__(self, channel: grpc.aio.Channel, *, worker_name: str, providers: Sequence[str]) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._worker = worker_name
        self._providers = tuple(providers)
        self._is_starting = True

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Job]]:
        """Jobs that are due."""
        request = worker.ClaimJobsRequest(worker=self._worker, lease_tokens=tokens, providers=self._providers)
        answer = await call(self._stub.ClaimJobs, request, timeout=TIMEOUT_SECONDS)
        return [(one.lease.lease_token, claimed_job(one)) for one in answer.jobs]

    async def renew(self, jobs: Sequence[Job]) -> Mapping[str, Renewal]:
        """What became of each lease."""
        request = worker.RenewLeasesRequest(worker=self._worker, leases=[_lease(job) for job in jobs])
        answer = await call(self._stub.RenewLeases, request, timeout=TIMEOUT_SECONDS)
        return {one.lease_token: RENEWALS.get(one.outcome, Renewal.RENEWED) for one in answer.renewals}

    async def begin_call(
        self,
        job: Job,
        *,
        call_id: str,
        provider: str,
        model: str,
        indexes: Sequence[int],
        digest: str,
        known: Known,
    ) -> Call:
        """Write a call down before it leaves."""
        request = worker.BeginProviderCallRequest(
            lease=_lease(job),
            call_id=call_id,
            provider=provider,
            model=model,
            image_indexes=indexes,
            request_digest=digest,
            settled=[call_outcome(one) for one in known.calls],
            staged=[image_artifact(one) for one in known.images],
            shows_call_tokens=True,
        )
        answer = await call(self._stub.BeginProviderCall, request, timeout=TIMEOUT_SECONDS, attempts=3)
        return _call(answer.call, token=answer.call_token)

    async def resend_call(self, job: Job, earlier: Call, *, known: Known) -> Call:
        """Allow an earlier call to be sent again under its own key."""
        request = worker.BeginProviderCallRequest(
            lease=_lease(job),
            resend_call_id=earlier.id,
            settled=[call_outcome(one) for one in known.calls],
            staged=[image_artifact(one) for one in known.images],
            shows_call_tokens=True,
        )
        answer = await call(self._stub.BeginProviderCall, request, timeout=TIMEOUT_SECONDS)
        return _call(answer.call, token=answer.call_token)

    async def follow_call(self, job: Job, earlier: Call, *, known: Known) -> Call:
        """Say that the operation of an earlier call is followed."""
        request = worker.BeginProviderCallRequest(
            lease=_lease(job),
            follow_call_id=earlier.id,
            settled=[call_outcome(one) for one in known.calls],
            staged=[image_artifact(one) for one in known.images],
            shows_call_tokens=True,
        )
        answer = await call(self._stub.BeginProviderCall, request, timeout=TIMEOUT_SECONDS, attempts=3)
        return replace(earlier, token=answer.call_token)

    async def record_operation(self, accepted: Call, operation: Operation) -> None:
        """Write down the provider's operation id."""
        request = worker.RecordOperationRequest(
            call_id=accepted.id,
            call_token=accepted.token,
            operation_id=operation.id,
            operation_state=dict(operation.state),
        )
        await call(self._stub.RecordOperation, request, timeout=RECORD_TIMEOUT_SECONDS)

    async def read_input(self, job: Job, index: int) -> AsyncIterator[bytes]:
        """An input image that came as bytes."""
        request = worker.GetJobInputRequest(lease=_lease(job), index=index)
        async for answer in stream(self._stub.GetJobInput, request):
            yield answer.chunk

    async def release(self, job: Job, *, known: Known) -> None:
        """Hand a job back."""
        request = worker.ReleaseJobRequest(
            lease=_lease(job),
            settled=[call_outcome(one) for one in known.calls],
            staged=[image_artifact(one) for one in known.images],
        )
        await call(self._stub.ReleaseJob, request, timeout=TIMEOUT_SECONDS, attempts=3)

    async def claim_settlements(self, tokens: Sequence[str]) -> Sequence[tuple[str, Settlement]]:
        """Open calls of final jobs."""
        request = worker.ClaimSettlementsRequest(worker=self._worker, lease_tokens=tokens, providers=self._providers)
        answer = await call(self._stub.ClaimSettlements, request, timeout=TIMEOUT_SECONDS)
        return [(one.lease_token, _settlement(one)) for one in answer.settlements]

    async def renew_settlements(self, settlements: Sequence[Settlement]) -> Mapping[str, Renewal]:
        """What became of each settlement."""
        tokens = [one.lease_token for one in settlements]
        request = worker.RenewLeasesRequest(worker=self._worker, settlement_tokens=tokens)
        answer = await call(self._stub.RenewLeases, request, timeout=TIMEOUT_SECONDS)
        return {one.lease_token: RENEWALS.get(one.outcome, Renewal.RENEWED) for one in answer.settlement_renewals}

    async def postpone_settlement(
        self, settlement: Settlement, *, cancel_outcome: CancelOutcome | None, shortest_pause: float
    ) -> None:
        """Give a call back that has not ended."""
        request = worker.PostponeSettlementRequest(
            worker=self._worker,
            lease_token=settlement.lease_token,
            provider_cancel=job_pb2.ProviderCancel.Value(
                f"PROVIDER_CANCEL_{(cancel_outcome or 'unspecified').upper()}"
            ),
            shortest_pause_seconds=shortest_pause,
        )
        await call(self._stub.PostponeSettlement, request, timeout=TIMEOUT_SECONDS)

    async def claim_deletions(self, tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
        """Folders to empty; those that were are told."""
        request = worker.ClaimDeletionsRequest(
            worker=self._worker,
            bucket=worker.BUCKET_STAGING,
            lease_tokens=tokens,
            emptied=[worker.Deletion(id=one.id, prefix=one.prefix, lease_token=one.lease_token) for one in emptied],
        )
        answer = await call(self._stub.ClaimDeletions, request, timeout=TIMEOUT_SECONDS)
        return [Folder(id=one.id, prefix=one.prefix, lease_token=one.lease_token) for one in answer.deletions]

    async def claim_page(self, token: str) -> NamePage | None:
        """The next page of the bucket to be compared."""
        request = worker.ClaimSweepRequest(worker=self._worker, bucket=worker.BUCKET_STAGING, lease_token=token)
        answer = await call(self._stub.ClaimSweep, request, timeout=TIMEOUT_SECONDS)
        return NamePage(after=answer.after, limit=answer.most) if answer.is_due else None

    async def report_page(self, token: str, names: Sequence[str], *, is_end: bool) -> Mapping[str, int]:
        """What there is on the page."""
        request = worker.ReportSweepRequest(
            worker=self._worker, bucket=worker.BUCKET_STAGING, lease_token=token, names=names, is_end=is_end
        )
        answer = await call(self._stub.ReportSweep, request, timeout=TIMEOUT_SECONDS)
        return {"to_go": answer.to_go, "missing": answer.missing}

    async def register(self, providers: Sequence[provider_pb2.Provider], *, ready: Readiness) -> None:
        """Make the catalogue known; the process is ready once it was."""
        request = worker.RegisterProvidersRequest(
            worker=self._worker, providers=providers, is_starting=self._is_starting
        )
        await call(self._stub.RegisterProviders, request, timeout=TIMEOUT_SECONDS)
        self._is_starting = False
        ready.set("catalogue", True)


def claimed_job(claimed: worker.ClaimedJob) -> Job:
    """A job as job-service hands it out."""
    return Job(
        id=claimed.lease.job_id,
        claim_number=claimed.lease.claim_number,
        lease_token=claimed.lease.lease_token,
        lease_seconds=claimed.lease_seconds,
        tenant=claimed.job.tenant,
        # Before routes were told, a job went to its provider alone.
        routes=tuple(Route(provider=one.provider, model=one.model) for one in claimed.routes or [claimed.job]),
        image_count=claimed.job.image_count,
        request=_request(claimed.job.request),
        calls=tuple(_call(one) for one in claimed.calls),
        images=tuple(_image(one) for one in claimed.images),
        traceparent=claimed.traceparent,
        # Before this limit was told, it was not the worker's to keep.
        max_processing_seconds=claimed.max_processing_seconds or claimed.max_generating_seconds,
        max_seconds=claimed.max_generating_seconds,
        may_pay_again=claimed.may_pay_again,
        falls_back_on_refusal=claimed.job.request.fallback_on_refusal,
        finish_seconds=claimed.finish_seconds_left if claimed.HasField("finish_seconds_left") else None,
    )


def _request(told: job_pb2.JobRequest) -> Request:
    named = [*enumerate(told.input_images), *([(MASK, told.mask)] if told.HasField("mask") else [])]
    inputs = [
        InputImage(
            index=index,
            url=image.url if image.WhichOneof("source") == "url" else None,
            content_type=image.content_type,
        )
        for index, image in named
    ]

    def given(name: str) -> Any:
        return getattr(told, name) if told.HasField(name) else None  # type: ignore[arg-type]

    return Request(
        prompt=told.prompt,
        negative_prompt=given("negative_prompt"),
        size=given("size"),
        aspect_ratio=given("aspect_ratio"),
        seed=given("seed"),
        quality=given("quality"),
        output_format=given("output_format"),
        background=given("background"),
        output_compression=given("output_compression"),
        moderation=given("moderation"),
        input_fidelity=given("input_fidelity"),
        inputs=tuple(inputs),
        options=structs.plain(told.provider_options),
    )


def _call(told: job_pb2.ProviderCall, *, token: bytes = b"") -> Call:
    return Call(
        id=told.id,
        provider=told.provider,
        model=told.model,
        phase=Phase(job_pb2.CallPhase.Name(told.phase).removeprefix("CALL_PHASE_").lower()),
        image_indexes=tuple(told.image_indexes),
        idempotency_key=told.idempotency_key,
        operation_id=told.operation_id,
        operation_state=dict(told.operation_state),
        under_consent=told.consent not in (job_pb2.CONSENT_UNSPECIFIED, job_pb2.CONSENT_NONE),
        token=token,
    )


def _image(told: artifact_pb2.ImageArtifact) -> StagedImage:
    return StagedImage(
        index=told.index,
        name=told.staged.name,
        call_id=told.staged.call_id,
        content_type=told.content_type,
        width=told.width,
        height=told.height,
        size_bytes=told.size_bytes,
        sha256=told.sha256,
        blurhash=told.blurhash,
        seed=told.seed if told.HasField("seed") else None,
        revised_prompt=told.revised_prompt if told.HasField("revised_prompt") else None,
        c2pa=told.provenance.c2pa,
    )


def _settlement(told: worker.Settlement) -> Settlement:
    return Settlement(
        call=_call(told.call, token=told.call_token),
        job_id=told.call.job_id,
        lease_token=told.lease_token,
        lease_seconds=told.lease_seconds,
        cancel=told.cancel,
        keep=told.keep,
        traceparent=told.traceparent,
        seconds_left=told.seconds_left,
        cancel_outcome=CANCEL_ANSWERS.get(told.provider_cancel),
    )


def _lease(job: Job) -> worker.Lease:
    return worker.Lease(job_id=job.id, claim_number=job.claim_number, lease_token=job.lease_token)
