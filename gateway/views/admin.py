"""What operators see, as JSON."""

from calotype.ops.v1 import dead_letter_service_pb2, queue_service_pb2, tenant_service_pb2

from gateway.schemas.admin import (
    DeadLetterView,
    JobCountsView,
    ProviderUseView,
    QueueView,
    SpendView,
    TenantQueueView,
    TenantSpendView,
)
from gateway.views.protobuf import given, moment, sure_moment
from gateway.views.providers import provider


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


def spend(one: tenant_service_pb2.TenantSpend) -> TenantSpendView:
    """A tenant with a budget."""
    limits = one.limits
    return TenantSpendView(
        tenant=limits.tenant,
        allowed_providers=list(limits.allowed_providers.entries) if limits.HasField("allowed_providers") else None,
        budget_micros_per_day=given(limits, "budget_micros_per_day"),
        budget_micros_per_month=given(limits, "budget_micros_per_month"),
        day=_spend(one.day),
        month=_spend(one.month),
    )


def _spend(one: tenant_service_pb2.Spend) -> SpendView:
    return SpendView(starts_on=one.starts_on, spent_micros=one.spent_micros, reserved_micros=one.reserved_micros)


def _counts(one: queue_service_pb2.JobCounts) -> JobCountsView:
    return JobCountsView(
        queued=one.queued,
        waiting=one.waiting,
        processing=one.processing,
        generating=one.generating,
        uploading=one.uploading,
    )
