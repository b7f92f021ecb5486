"""Protobuf messages as domain values."""

from services.job.messages.from_protobuf.facts import (
    Contradiction,
    claim_of,
    failure,
    is_known,
    job_fact,
    outcome,
    provider_cancel,
    worker_report,
)
from services.job.messages.from_protobuf.filters import bulk_action_request, job_filter
from services.job.messages.from_protobuf.providers import provider
from services.job.messages.from_protobuf.requests import input_bytes, input_image, quota, request
from services.job.messages.from_protobuf.values import Undecodable, fence, moment, token

__all__ = [
    "Contradiction",
    "Undecodable",
    "bulk_action_request",
    "claim_of",
    "failure",
    "fence",
    "input_bytes",
    "input_image",
    "is_known",
    "job_fact",
    "job_filter",
    "moment",
    "outcome",
    "provider",
    "provider_cancel",
    "quota",
    "request",
    "token",
    "worker_report",
]
