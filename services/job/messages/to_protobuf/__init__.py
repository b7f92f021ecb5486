"""Domain values as protobuf messages."""

from services.job.messages.to_protobuf.bulk_actions import bulk_action
from services.job.messages.to_protobuf.jobs import (
    attempt,
    call,
    call_for_clients,
    final_event_reference,
    image,
    input_image,
    job,
    public_artifact,
    rate,
    request,
)
from services.job.messages.to_protobuf.providers import CAPABILITIES, provider
from services.job.messages.to_protobuf.values import failure, timestamp, warning
from services.job.messages.to_protobuf.work import claimed_job, claimed_upload, deletion, lease, renewal, settlement

__all__ = [
    "CAPABILITIES",
    "attempt",
    "bulk_action",
    "call",
    "call_for_clients",
    "claimed_job",
    "claimed_upload",
    "deletion",
    "failure",
    "final_event_reference",
    "image",
    "input_image",
    "job",
    "lease",
    "provider",
    "public_artifact",
    "rate",
    "renewal",
    "request",
    "settlement",
    "timestamp",
    "warning",
]
