"""WorkDesk over `calotype.job.v1.WorkerService`."""

from collections.abc import Mapping, Sequence

import grpc
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.job.v1 import worker_service_pb2_grpc

from common.emptying import Folder
from common.grpc_client import call
from common.leased_work import Renewal
from common.sweeping import NamePage
from services.uploader.domain import StagedImage, Upload

TIMEOUT_SECONDS = 5.0
RENEWALS = {
    worker.Renewal.OUTCOME_RENEWED: Renewal.RENEWED,
    worker.Renewal.OUTCOME_LOST: Renewal.LOST,
    worker.Renewal.OUTCOME_CANCELED: Renewal.CANCELED,
}


class GrpcJobService:
    """Asks job-service."""

    def __init__(self, channel: grpc.aio.Channel, *, worker_name: str) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._worker = worker_name

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Upload]]:
        """Uploads that are due."""
        request = worker.ClaimUploadsRequest(worker=self._worker, lease_tokens=tokens)
        answer = await call(self._stub.ClaimUploads, request, timeout=TIMEOUT_SECONDS)
        return [(one.lease.lease_token, _upload(one)) for one in answer.uploads]

    async def renew(self, uploads: Sequence[Upload]) -> Mapping[str, Renewal]:
        """What became of each lease."""
        request = worker.RenewLeasesRequest(worker=self._worker, leases=[_lease(one) for one in uploads])
        answer = await call(self._stub.RenewLeases, request, timeout=TIMEOUT_SECONDS)
        return {one.lease_token: RENEWALS.get(one.outcome, Renewal.RENEWED) for one in answer.renewals}

    async def release(self, upload: Upload) -> None:
        """Hand an upload back."""
        request = worker.ReleaseJobRequest(lease=_lease(upload))
        await call(self._stub.ReleaseJob, request, timeout=TIMEOUT_SECONDS, attempts=2)

    async def claim_deletions(self, tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
        """Folders to empty; those that were are told."""
        request = worker.ClaimDeletionsRequest(
            worker=self._worker,
            bucket=worker.BUCKET_PUBLIC,
            lease_tokens=tokens,
            emptied=[worker.Deletion(id=one.id, prefix=one.prefix, lease_token=one.lease_token) for one in emptied],
        )
        answer = await call(self._stub.ClaimDeletions, request, timeout=TIMEOUT_SECONDS)
        return [Folder(id=one.id, prefix=one.prefix, lease_token=one.lease_token) for one in answer.deletions]

    async def claim_page(self, token: str) -> NamePage | None:
        """The next page of the bucket to be compared."""
        request = worker.ClaimSweepRequest(worker=self._worker, bucket=worker.BUCKET_PUBLIC, lease_token=token)
        answer = await call(self._stub.ClaimSweep, request, timeout=TIMEOUT_SECONDS)
        return NamePage(after=answer.after, limit=answer.most) if answer.is_due else None

    async def report_page(self, token: str, names: Sequence[str], *, is_end: bool) -> Mapping[str, int]:
        """What there is on the page."""
        request = worker.ReportSweepRequest(
            worker=self._worker, bucket=worker.BUCKET_PUBLIC, lease_token=token, names=names, is_end=is_end
        )
        answer = await call(self._stub.ReportSweep, request, timeout=TIMEOUT_SECONDS)
        return {"to_go": answer.to_go, "missing": answer.missing}


def _upload(claimed: worker.ClaimedUpload) -> Upload:
    return Upload(
        job_id=claimed.lease.job_id,
        claim_number=claimed.lease.claim_number,
        lease_token=claimed.lease.lease_token,
        lease_seconds=claimed.lease_seconds,
        images=tuple(
            StagedImage(
                index=one.index,
                name=one.staged.name,
                content_type=one.content_type,
                sha256=one.sha256,
                size_bytes=one.size_bytes,
            )
            for one in claimed.images
        ),
        traceparent=claimed.traceparent,
        max_seconds=claimed.max_uploading_seconds,
    )


def _lease(upload: Upload) -> worker.Lease:
    return worker.Lease(job_id=upload.job_id, claim_number=upload.claim_number, lease_token=upload.lease_token)
