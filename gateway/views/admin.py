"""Converts what operators can see to JSON views."""

from calotype.ops.v1 import dead_letter_service_pb2, job_admin_service_pb2, queue_service_pb2, tenant_service_pb2

from gateway.schemas.admin import (
    DeadLetterView,
    JobCountsView,
    ProviderUseView,
    QueueView,
    SpendView,
    TenantQueueView,
    TenantSpendView,
)
from gateway.schemas.pauses import PauseKindName, PauseView
from gateway.views.protobuf import optional, optional_time, required_time
from gateway.views.providers import provider


def dead_letter(message: dead_letter_service_pb2.DeadLetter) -> DeadLetterView:
    """Returns the view of a dead letter, or of a parked message."""
    return DeadLetterView(
        id=message.id,
        died_at=required_time(message, "died_at"),
        reason=message.reason,
        subject=message.subject,
        type=message.type or None,
        job_id=message.job_id or None,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
    )


def queue(response: queue_service_pb2.GetQueueResponse) -> QueueView:
    """Returns the view of unfinished jobs and outstanding work."""
    return QueueView(
        jobs=_counts(response.jobs),
        oldest_queued_at=optional_time(response, "oldest_queued_at"),
        tenants=[
            TenantQueueView(
                tenant=tenant.tenant,
                jobs=_counts(tenant.jobs),
                oldest_queued_at=optional_time(tenant, "oldest_queued_at"),
            )
            for tenant in response.tenants
        ],
        unpublished_messages=response.unpublished_messages,
        open_settlements=response.open_settlements,
        open_deletions=response.open_deletions,
        oldest_deletion_at=optional_time(response, "oldest_deletion_at"),
        missing_objects=response.missing_objects,
    )


def provider_use(message: queue_service_pb2.ProviderUse) -> ProviderUseView:
    """Returns the view of a provider with its current use."""
    return ProviderUseView(
        provider=provider(message.provider),
        in_use=message.in_use,
        calls_in_last_minute=message.calls_in_last_minute,
        registered_by=message.registered_by,
        registered_at=required_time(message, "registered_at"),
        spent_micros=message.spent_micros,
        calls_without_cost=message.calls_without_cost,
        spent_since=optional_time(message, "spent_since"),
    )


def pause(message: job_admin_service_pb2.PauseInfo) -> PauseView:
    """Returns the view of a pause."""
    kinds: dict[int, PauseKindName] = {
        job_admin_service_pb2.PAUSE_KIND_PROVIDER: "provider",
        job_admin_service_pb2.PAUSE_KIND_TENANT: "tenant",
        job_admin_service_pb2.PAUSE_KIND_QUEUE: "queue",
    }
    return PauseView(
        kind=kinds[message.kind],
        name=message.name or None,
        note=message.note or None,
        paused_by=message.paused_by,
        paused_at=required_time(message, "paused_at"),
    )


def spend(message: tenant_service_pb2.TenantSpend) -> TenantSpendView:
    """Returns the view of a tenant's budget and what it has spent."""
    limits = message.limits
    return TenantSpendView(
        tenant=limits.tenant,
        allowed_providers=list(limits.allowed_providers.entries) if limits.HasField("allowed_providers") else None,
        budget_micros_per_day=optional(limits, "budget_micros_per_day"),
        budget_micros_per_month=optional(limits, "budget_micros_per_month"),
        day=_spend(message.day),
        month=_spend(message.month),
    )


def _spend(message: tenant_service_pb2.Spend) -> SpendView:
    return SpendView(
        starts_on=message.starts_on, spent_micros=message.spent_micros, reserved_micros=message.reserved_micros
    )


def _counts(message: queue_service_pb2.JobCounts) -> JobCountsView:
    return JobCountsView(
        queued=message.queued,
        waiting=message.waiting,
        processing=message.processing,
        generating=message.generating,
        uploading=message.uploading,
        is_exact=message.is_exact,
    )
