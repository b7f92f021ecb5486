"""Work of workers: claims, leases, settlements."""

from calotype.job.v1 import job_pb2, worker_service_pb2

from services.job.application.claims import Claimed
from services.job.domain.jobs import Cost, Job, Snapshot
from services.job.domain.timeouts import StageTimeouts
from services.job.messages.enums import number
from services.job.messages.to_protobuf.jobs import call, image, job
from services.job.store.deletions import Deletion
from services.job.store.settlements import Settlement

_NO_COST = Cost(amount_micros=None, complete=False)


def lease(held: Job) -> worker_service_pb2.Lease:
    """Returns the lease of a claimed job."""
    assert held.lease is not None
    return worker_service_pb2.Lease(job_id=held.id, claim_number=held.claim_number, lease_token=str(held.lease.token))


def deletion(folder: Deletion) -> worker_service_pb2.Deletion:
    """Returns a folder that a worker has claimed to empty."""
    return worker_service_pb2.Deletion(
        id=folder.id, prefix=folder.prefix, lease_token=str(folder.lease_token), names=folder.names
    )


def claimed_job(claimed: Claimed, limits: StageTimeouts) -> worker_service_pb2.ClaimedJob:
    """Returns a job that a generator has claimed."""
    snapshot = Snapshot(job=claimed.job, artifacts=(), cost=_NO_COST)
    return worker_service_pb2.ClaimedJob(
        lease=lease(claimed.job),
        lease_seconds=limits.lease_seconds,
        job=job(snapshot, public_base_url=""),
        calls=[call(row) for row in claimed.calls],
        images=[image(artifact) for artifact in claimed.images],
        traceparent=claimed.job.traceparent or "",
        max_processing_seconds=limits.max_processing_seconds,
        max_generating_seconds=limits.max_generating_seconds,
        finish_seconds_left=_seconds_left(claimed.job),
        may_pay_again=claimed.may_pay_again,
        routes=[worker_service_pb2.Route(provider=route.provider, model=route.model) for route in claimed.routes],
    )


def _seconds_left(claimed: Job) -> float | None:
    """Returns the seconds from the claim to the job's deadline, both by the database's clock; None without one."""
    if claimed.finish_by is None or claimed.lease is None:
        return None
    return max((claimed.finish_by - claimed.lease.locked_at).total_seconds(), 0.0)


def claimed_upload(claimed: Claimed, limits: StageTimeouts) -> worker_service_pb2.ClaimedUpload:
    """Returns a job that an uploader has claimed."""
    return worker_service_pb2.ClaimedUpload(
        lease=lease(claimed.job),
        lease_seconds=limits.lease_seconds,
        images=[image(artifact) for artifact in claimed.images],
        traceparent=claimed.job.traceparent or "",
        max_uploading_seconds=limits.max_uploading_seconds,
        tenant=claimed.job.tenant,
    )


def renewal(token: str, outcome: str, limits: StageTimeouts) -> worker_service_pb2.Renewal:
    """Returns the result of one renewal; `outcome` is `renewed`, `lost` or `canceled`."""
    return worker_service_pb2.Renewal(
        lease_token=token,
        outcome=number(worker_service_pb2.Renewal.Outcome, "OUTCOME", outcome),
        lease_seconds=limits.lease_seconds if outcome == "renewed" else 0,
    )


def settlement(value: Settlement, limits: StageTimeouts, *, token: bytes) -> worker_service_pb2.Settlement:
    """Returns an open call of a final job that a worker has claimed, with its call token."""
    return worker_service_pb2.Settlement(
        call=call(value.call),
        call_token=token,
        lease_token=str(value.token),
        lease_seconds=limits.lease_seconds,
        cancel=value.cancel,
        keep=value.keep,
        traceparent=value.traceparent or "",
        seconds_left=value.seconds_left,
        provider_cancel=number(job_pb2.ProviderCancel, "PROVIDER_CANCEL", value.cancel_outcome),
        tenant=value.tenant,
    )
