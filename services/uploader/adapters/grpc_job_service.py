"""`JobService` port over the gRPC service `calotype.job.v1.WorkerService`."""

from collections.abc import Mapping, Sequence

import grpc
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.job.v1 import worker_service_pb2_grpc

from common.emptying import Folder, folder_of
from common.grpc_client import call
from common.leased_work import Renewal
from common.sweeping import NamePage
from services.uploader.domain import StagedImage, Upload

#: Deadline of a call in seconds.
TIMEOUT_SECONDS = 5.0
RENEWALS = {
    worker.Renewal.OUTCOME_RENEWED: Renewal.RENEWED,
    worker.Renewal.OUTCOME_LOST: Renewal.LOST,
    worker.Renewal.OUTCOME_CANCELED: Renewal.CANCELED,
}


class GrpcJobService:
    """Calls job-service."""

    def __init__(self, channel: grpc.aio.Channel, *, worker_name: str) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._worker = worker_name

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Upload]]:
        """Claims due uploads."""
        request = worker.ClaimUploadsRequest(worker=self._worker, lease_tokens=tokens)
        response = await call(self._stub.ClaimUploads, request, timeout=TIMEOUT_SECONDS)
        return [(entry.lease.lease_token, _upload(entry)) for entry in response.uploads]

    async def renew(self, uploads: Sequence[Upload]) -> Mapping[str, Renewal]:
        """Renews the leases of uploads."""
        request = worker.RenewLeasesRequest(worker=self._worker, leases=[_lease(entry) for entry in uploads])
        response = await call(self._stub.RenewLeases, request, timeout=TIMEOUT_SECONDS)
        return {entry.lease_token: RENEWALS.get(entry.outcome, Renewal.RENEWED) for entry in response.renewals}

    async def release(self, upload: Upload) -> None:
        """Gives up the lease of an upload."""
        request = worker.ReleaseJobRequest(lease=_lease(upload))
        await call(self._stub.ReleaseJob, request, timeout=TIMEOUT_SECONDS, attempts=2)

    async def claim_deletions(self, tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
        """Claims folders to empty, and reports those that are empty."""
        request = worker.ClaimDeletionsRequest(
            worker=self._worker,
            bucket=worker.BUCKET_PUBLIC,
            lease_tokens=tokens,
            emptied=[
                worker.Deletion(id=entry.id, prefix=entry.prefix, lease_token=entry.lease_token) for entry in emptied
            ],
        )
        response = await call(self._stub.ClaimDeletions, request, timeout=TIMEOUT_SECONDS)
        return [folder_of(entry) for entry in response.deletions]

    async def claim_page(self, token: str) -> NamePage | None:
        """Claims the next page of the bucket sweep."""
        request = worker.ClaimSweepRequest(worker=self._worker, bucket=worker.BUCKET_PUBLIC, lease_token=token)
        response = await call(self._stub.ClaimSweep, request, timeout=TIMEOUT_SECONDS)
        return NamePage(after=response.after, limit=response.most) if response.is_due else None

    async def report_page(self, token: str, names: Sequence[str], *, is_end: bool) -> Mapping[str, int]:
        """Reports the object names of a page."""
        request = worker.ReportSweepRequest(
            worker=self._worker, bucket=worker.BUCKET_PUBLIC, lease_token=token, names=names, is_end=is_end
        )
        response = await call(self._stub.ReportSweep, request, timeout=TIMEOUT_SECONDS)
        return {"to_go": response.to_go, "missing": response.missing}


def _upload(claimed: worker.ClaimedUpload) -> Upload:
    return Upload(
        job_id=claimed.lease.job_id,
        claim_number=claimed.lease.claim_number,
        lease_token=claimed.lease.lease_token,
        lease_seconds=claimed.lease_seconds,
        images=tuple(
            StagedImage(
                index=entry.index,
                name=entry.staged.name,
                content_type=entry.content_type,
                sha256=entry.sha256,
                size_bytes=entry.size_bytes,
            )
            for entry in claimed.images
        ),
        traceparent=claimed.traceparent,
        max_seconds=claimed.max_uploading_seconds,
        tenant=claimed.tenant,
    )


def _lease(upload: Upload) -> worker.Lease:
    return worker.Lease(job_id=upload.job_id, claim_number=upload.claim_number, lease_token=upload.lease_token)
