"""`JobService` port over the gRPC service `calotype.job.v1.WorkerService`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import grpc
from calotype.artifact.v1 import artifact_pb2
from calotype.job.v1 import job_pb2, worker_service_pb2_grpc
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.provider.v1 import provider_pb2

from common import structs
from common.emptying import Folder, folder_of
from common.grpc_client import call, stream
from common.health import Readiness
from common.leased_work import Renewal
from common.sweeping import NamePage
from services.generator.adapters.nats_facts import call_outcome, image_artifact
from services.generator.domain.jobs import Call, CallPhase, InputImage, Job, Request, Route, StagedImage
from services.generator.domain.provider_results import CancelOutcome, Operation
from services.generator.domain.settlements import Settlement, WorkerReport

#: Deadline of a call in seconds.
TIMEOUT_SECONDS = 5.0
#: Deadline in seconds for recording an operation: after it, the operation is published as a fact.
RECORD_TIMEOUT_SECONDS = 1.0
#: Index of the mask among the input images.
MASK = -1
RENEWALS = {
    worker.Renewal.OUTCOME_RENEWED: Renewal.RENEWED,
    worker.Renewal.OUTCOME_LOST: Renewal.LOST,
    worker.Renewal.OUTCOME_CANCELED: Renewal.CANCELED,
}
CANCEL_OUTCOMES = {
    job_pb2.PROVIDER_CANCEL_CONFIRMED: CancelOutcome.CONFIRMED,
    job_pb2.PROVIDER_CANCEL_UNSUPPORTED: CancelOutcome.UNSUPPORTED,
    job_pb2.PROVIDER_CANCEL_TOO_LATE: CancelOutcome.TOO_LATE,
}


class GrpcJobService:
    """Calls job-service; `providers` are the names of the providers that this process can call."""

    def __init__(self, channel: grpc.aio.Channel, *, worker_name: str, providers: Sequence[str]) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._worker = worker_name
        self._providers = tuple(providers)
        self._is_starting = True

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Job]]:
        """Claims due jobs."""
        request = worker.ClaimJobsRequest(worker=self._worker, lease_tokens=tokens, providers=self._providers)
        response = await call(self._stub.ClaimJobs, request, timeout=TIMEOUT_SECONDS)
        return [(item.lease.lease_token, claimed_job(item)) for item in response.jobs]

    async def renew(self, jobs: Sequence[Job]) -> Mapping[str, Renewal]:
        """Renews the leases of jobs."""
        request = worker.RenewLeasesRequest(worker=self._worker, leases=[_lease(job) for job in jobs])
        response = await call(self._stub.RenewLeases, request, timeout=TIMEOUT_SECONDS)
        return {item.lease_token: RENEWALS.get(item.outcome, Renewal.RENEWED) for item in response.renewals}

    async def begin_call(
        self,
        job: Job,
        *,
        call_id: str,
        provider: str,
        model: str,
        indexes: Sequence[int],
        digest: str,
        report: WorkerReport,
    ) -> Call:
        """Records a call before it is sent."""
        request = worker.BeginProviderCallRequest(
            lease=_lease(job),
            call_id=call_id,
            provider=provider,
            model=model,
            image_indexes=indexes,
            request_digest=digest,
            settled=[call_outcome(item) for item in report.calls],
            staged=[image_artifact(item) for item in report.images],
            shows_call_tokens=True,
        )
        response = await call(self._stub.BeginProviderCall, request, timeout=TIMEOUT_SECONDS, attempts=3)
        return _call(response.call, token=response.call_token)

    async def resend_call(self, job: Job, earlier: Call, *, report: WorkerReport) -> Call:
        """Gets permission to send an earlier call again, with its idempotency key."""
        request = worker.BeginProviderCallRequest(
            lease=_lease(job),
            resend_call_id=earlier.id,
            settled=[call_outcome(item) for item in report.calls],
            staged=[image_artifact(item) for item in report.images],
            shows_call_tokens=True,
        )
        response = await call(self._stub.BeginProviderCall, request, timeout=TIMEOUT_SECONDS)
        return _call(response.call, token=response.call_token)

    async def follow_call(self, job: Job, earlier: Call, *, report: WorkerReport) -> Call:
        """Reports that this claim follows the operation of an earlier call."""
        request = worker.BeginProviderCallRequest(
            lease=_lease(job),
            follow_call_id=earlier.id,
            settled=[call_outcome(item) for item in report.calls],
            staged=[image_artifact(item) for item in report.images],
            shows_call_tokens=True,
        )
        response = await call(self._stub.BeginProviderCall, request, timeout=TIMEOUT_SECONDS, attempts=3)
        return replace(earlier, token=response.call_token)

    async def record_operation(self, accepted: Call, operation: Operation) -> None:
        """Records the provider's operation id."""
        request = worker.RecordOperationRequest(
            call_id=accepted.id,
            call_token=accepted.token,
            operation_id=operation.id,
            operation_state=dict(operation.state),
        )
        await call(self._stub.RecordOperation, request, timeout=RECORD_TIMEOUT_SECONDS)

    async def read_input(self, job: Job, index: int) -> AsyncIterator[bytes]:
        """Reads an input image that the caller sent as bytes."""
        request = worker.GetJobInputRequest(lease=_lease(job), index=index)
        async for response in stream(self._stub.GetJobInput, request):
            yield response.chunk

    async def release(self, job: Job, *, report: WorkerReport) -> None:
        """Gives up the lease of a job."""
        request = worker.ReleaseJobRequest(
            lease=_lease(job),
            settled=[call_outcome(item) for item in report.calls],
            staged=[image_artifact(item) for item in report.images],
        )
        await call(self._stub.ReleaseJob, request, timeout=TIMEOUT_SECONDS, attempts=3)

    async def claim_settlements(self, tokens: Sequence[str]) -> Sequence[tuple[str, Settlement]]:
        """Claims open provider calls of final jobs."""
        request = worker.ClaimSettlementsRequest(worker=self._worker, lease_tokens=tokens, providers=self._providers)
        response = await call(self._stub.ClaimSettlements, request, timeout=TIMEOUT_SECONDS)
        return [(item.lease_token, _settlement(item)) for item in response.settlements]

    async def renew_settlements(self, settlements: Sequence[Settlement]) -> Mapping[str, Renewal]:
        """Renews the leases of open calls."""
        tokens = [item.lease_token for item in settlements]
        request = worker.RenewLeasesRequest(worker=self._worker, settlement_tokens=tokens)
        response = await call(self._stub.RenewLeases, request, timeout=TIMEOUT_SECONDS)
        return {item.lease_token: RENEWALS.get(item.outcome, Renewal.RENEWED) for item in response.settlement_renewals}

    async def postpone_settlement(
        self, settlement: Settlement, *, cancel_outcome: CancelOutcome | None, shortest_pause: float
    ) -> None:
        """Gives up the lease of a call that has not ended."""
        name = f"PROVIDER_CANCEL_{(cancel_outcome or 'unspecified').upper()}"
        request = worker.PostponeSettlementRequest(
            worker=self._worker,
            lease_token=settlement.lease_token,
            provider_cancel=job_pb2.ProviderCancel.Value(name),
            shortest_pause_seconds=shortest_pause,
        )
        await call(self._stub.PostponeSettlement, request, timeout=TIMEOUT_SECONDS)

    async def claim_deletions(self, tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
        """Claims folders to empty, and reports those that are empty."""
        request = worker.ClaimDeletionsRequest(
            worker=self._worker,
            bucket=worker.BUCKET_STAGING,
            lease_tokens=tokens,
            emptied=[worker.Deletion(id=item.id, prefix=item.prefix, lease_token=item.lease_token) for item in emptied],
        )
        response = await call(self._stub.ClaimDeletions, request, timeout=TIMEOUT_SECONDS)
        return [folder_of(item) for item in response.deletions]

    async def claim_page(self, token: str) -> NamePage | None:
        """Claims the next page of the bucket sweep."""
        request = worker.ClaimSweepRequest(worker=self._worker, bucket=worker.BUCKET_STAGING, lease_token=token)
        response = await call(self._stub.ClaimSweep, request, timeout=TIMEOUT_SECONDS)
        return NamePage(after=response.after, limit=response.most) if response.is_due else None

    async def report_page(self, token: str, names: Sequence[str], *, is_end: bool) -> Mapping[str, int]:
        """Reports the object names of a page."""
        request = worker.ReportSweepRequest(
            worker=self._worker, bucket=worker.BUCKET_STAGING, lease_token=token, names=names, is_end=is_end
        )
        response = await call(self._stub.ReportSweep, request, timeout=TIMEOUT_SECONDS)
        return {"to_go": response.to_go, "missing": response.missing}

    async def register(self, providers: Sequence[provider_pb2.Provider], *, ready: Readiness) -> None:
        """Registers the catalogue of providers; the process is ready after the first time."""
        request = worker.RegisterProvidersRequest(
            worker=self._worker, providers=providers, is_starting=self._is_starting
        )
        await call(self._stub.RegisterProviders, request, timeout=TIMEOUT_SECONDS)
        self._is_starting = False
        ready.set("catalogue", True)


def claimed_job(claimed: worker.ClaimedJob) -> Job:
    """Returns a claimed job from its protobuf message."""
    return Job(
        id=claimed.lease.job_id,
        claim_number=claimed.lease.claim_number,
        retry_count=claimed.job.retry_count,
        lease_token=claimed.lease.lease_token,
        lease_seconds=claimed.lease_seconds,
        tenant=claimed.job.tenant,
        # An older job-service sends no routes: the job then has one, that of its provider.
        routes=tuple(Route(provider=route.provider, model=route.model) for route in claimed.routes or [claimed.job]),
        image_count=claimed.job.image_count,
        request=_request(claimed.job.request),
        calls=tuple(_call(item) for item in claimed.calls),
        images=tuple(_image(item) for item in claimed.images),
        traceparent=claimed.traceparent,
        # An older job-service sends no limit for processing.
        max_processing_seconds=claimed.max_processing_seconds or claimed.max_generating_seconds,
        max_seconds=claimed.max_generating_seconds,
        may_pay_again=claimed.may_pay_again,
        falls_back_on_refusal=claimed.job.request.fallback_on_refusal,
        finish_seconds=claimed.finish_seconds_left if claimed.HasField("finish_seconds_left") else None,
    )


def _input(index: int, image: job_pb2.InputImage) -> InputImage:
    return InputImage(index=index, url=image.url or None, content_type=image.content_type)


def _request(message: job_pb2.JobRequest) -> Request:
    images = [*enumerate(message.input_images), *([(MASK, message.mask)] if message.HasField("mask") else [])]
    inputs = [_input(index, image) for index, image in images]

    def optional(name: str) -> Any:
        return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]

    return Request(
        prompt=message.prompt,
        negative_prompt=optional("negative_prompt"),
        size=optional("size"),
        aspect_ratio=optional("aspect_ratio"),
        seed=optional("seed"),
        quality=optional("quality"),
        output_format=optional("output_format"),
        background=optional("background"),
        output_compression=optional("output_compression"),
        moderation=optional("moderation"),
        input_fidelity=optional("input_fidelity"),
        inputs=tuple(inputs),
        options=structs.plain(message.provider_options),
    )


def _call(message: job_pb2.ProviderCall, *, token: bytes = b"") -> Call:
    return Call(
        id=message.id,
        provider=message.provider,
        model=message.model,
        phase=CallPhase(job_pb2.CallPhase.Name(message.phase).removeprefix("CALL_PHASE_").lower()),
        image_indexes=tuple(message.image_indexes),
        idempotency_key=message.idempotency_key,
        operation_id=message.operation_id,
        operation_state=dict(message.operation_state),
        under_consent=message.consent not in (job_pb2.CONSENT_UNSPECIFIED, job_pb2.CONSENT_NONE),
        token=token,
    )


def _image(message: artifact_pb2.ImageArtifact) -> StagedImage:
    return StagedImage(
        index=message.index,
        name=message.staged.name,
        call_id=message.staged.call_id,
        content_type=message.content_type,
        width=message.width,
        height=message.height,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        blurhash=message.blurhash,
        seed=message.seed if message.HasField("seed") else None,
        revised_prompt=message.revised_prompt if message.HasField("revised_prompt") else None,
        c2pa=message.provenance.c2pa,
    )


def _settlement(message: worker.Settlement) -> Settlement:
    return Settlement(
        call=_call(message.call, token=message.call_token),
        job_id=message.call.job_id,
        lease_token=message.lease_token,
        lease_seconds=message.lease_seconds,
        cancel=message.cancel,
        keep=message.keep,
        traceparent=message.traceparent,
        seconds_left=message.seconds_left,
        cancel_outcome=CANCEL_OUTCOMES.get(message.provider_cancel),
        tenant=message.tenant,
    )


def _lease(job: Job) -> worker.Lease:
    return worker.Lease(job_id=job.id, claim_number=job.claim_number, lease_token=job.lease_token)
