"""What operators see, as JSON."""

from calotype.ops.v1 import dead_letter_service_pb2, queue_service_pb2

from gateway.protobuf import moment, sure_moment
from gateway.rendering_providers import provider
from gateway.schemas.admin import DeadLetterView, JobCountsView, ProviderUseView, QueueView, TenantQueueView


def dead_letter(one: dead_letter_service_pb2.DeadLetter) -> DeadLetterView:
    """A message that was refused for good."""
    return DeadLetterView(
        id=one.id,
        died_at=sure_moment(one, "died_at"),
        reason=one.reason,
        subject=one.subject,
        type=one.type or None,
        job_id=one.job_id or None,
        size_bytes=one.size_bytes,
        sha256=one.sha256,
    )


def queue(seen: queue_service_pb2.GetQueueResponse) -> QueueView:
    """What is under way."""
    return QueueView(
        jobs=_counts(seen.jobs),
        oldest_queued_at=moment(seen, "oldest_queued_at"),
        tenants=[
            TenantQueueView(tenant=one.tenant, jobs=_counts(one.jobs), oldest_queued_at=moment(one, "oldest_queued_at"))
            for one in seen.tenants
        ],
        unpublished_messages=seen.unpublished_messages,
        open_settlements=seen.open_settlements,
        open_deletions=seen.open_deletions,
        oldest_deletion_at=moment(seen, "oldest_deletion_at"),
        missing_objects=seen.missing_objects,
    )


def provider_use(one: queue_service_pb2.ProviderUse) -> ProviderUseView:
    """A provider and what is in use of it."""
    return ProviderUseView(
        provider=provider(one.provider),
        in_use=one.in_use,
        calls_in_last_minute=one.calls_in_last_minute,
        registered_by=one.registered_by,
        registered_at=sure_moment(one, "registered_at"),
    )


def _counts(one: queue_service_pb2.JobCounts) -> JobCountsView:
    return JobCountsView(
        queued=one.queued,
        waiting=one.waiting,
        processing=one.processing,
        generating=one.generating,
        uploading=one.uploading,
    )
